"""Signs with the official UserSig libraries and reads back what we signed.

Reads a JSON list of cases on stdin:
    {"version": 1 | 2, "key": PEM or secret, "public_key": PEM (version 1), "sdkappid": int, "user": str,
     "issued_s": int, "expire_s": int, "userbuf": base64 or null, "ours": our UserSig for the same values}
and writes one object per case, in order:
    {"official": the library's UserSig, "ours_agrees": bool, "why": str}

`ours_agrees` is judged with the library's own decoder. Version 2 must give the same fields with the same HMAC. Version 1
is randomised, so its DER signature is checked over the text that the library builds from our fields.
"""

import base64
import json
import sys
import types
import warnings
import zlib

# The version 1 library calls functions of pyOpenSSL that are marked as deprecated.
warnings.simplefilter("ignore")

import TLSSigAPI  # noqa: E402
import TLSSigAPIv2  # noqa: E402
from cryptography.exceptions import InvalidSignature  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402


def fields(module, usersig):
    return json.loads(zlib.decompress(module.base64_decode_url(usersig.encode())))


def version_2(case):
    api = TLSSigAPIv2.TLSSigAPIv2(case["sdkappid"], case["key"])
    if case["userbuf"] is None:
        official = api.gen_sig(case["user"], case["expire_s"])
    else:
        userbuf = base64.b64decode(case["userbuf"])
        official = api.gen_sig_with_userbuf(case["user"], case["expire_s"], userbuf)
    ours, theirs = fields(TLSSigAPIv2, case["ours"]), fields(TLSSigAPIv2, official)
    return official, ours == theirs, f"ours {ours}, official {theirs}"


def version_1(case):
    api = TLSSigAPI.TLSSigAPI(case["sdkappid"], case["key"], case["public_key"])
    official = api.gen_sig(case["user"], case["expire_s"])
    ours = fields(TLSSigAPI, case["ours"])
    signed = api._TLSSigAPI__encode_to_fix_str(ours)
    key = serialization.load_pem_public_key(case["public_key"].encode())
    try:
        key.verify(base64.b64decode(ours["TLS.sig"]), signed.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return official, False, f"our signature does not fit {signed!r}"
    return official, True, ""


def answer(case):
    clock = types.SimpleNamespace(time=lambda: case["issued_s"])
    TLSSigAPI.time = TLSSigAPIv2.time = clock
    official, agrees, why = {1: version_1, 2: version_2}[case["version"]](case)
    return {"official": official, "ours_agrees": agrees, "why": why}


if __name__ == "__main__":
    json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)

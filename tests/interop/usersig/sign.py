"""Signs with the official Python library. The argument is a JSON list of
    {"app": int, "key": str, "user": str, "expire_s": int, "issued_s": int, "userbuf": text or null}
and the output a JSON list of the UserSigs, in order."""

import json
import sys
import types

import TLSSigAPIv2


def sign(case):
    # The library has no other way to say when.
    TLSSigAPIv2.time = types.SimpleNamespace(time=lambda: case["issued_s"])
    api = TLSSigAPIv2.TLSSigAPIv2(case["app"], case["key"])
    if case["userbuf"] is None:
        return api.gen_sig(case["user"], case["expire_s"])
    return api.gen_sig_with_userbuf(case["user"], case["expire_s"], case["userbuf"].encode())


json.dump([sign(case) for case in json.loads(sys.argv[1])], sys.stdout)

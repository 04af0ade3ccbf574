// Signs with the official Node library. Arguments: where the library is, and a JSON list of
//     {"app": int, "key": str, "user": str, "expire_s": int, "issued_s": int, "userbuf": text or null}
// The output is a JSON list of the UserSigs, in order.
"use strict";

const { Api } = require(process.argv[2]);

const sign = ({ app, key, user, expire_s, issued_s, userbuf }) => {
  // The library has no other way to say when.
  Date.now = () => issued_s * 1000;
  return new Api(app, key).genSig(user, expire_s, userbuf === null ? null : Buffer.from(userbuf));
};

process.stdout.write(JSON.stringify(JSON.parse(process.argv[3]).map(sign)));

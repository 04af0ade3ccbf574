//! The envelope of both versions: zlib (RFC 1950), then base64 in an alphabet that is safe in a URL.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Decompress, FlushDecompress, Status};

use super::SigError;

/// Longest UserSig that is looked at, in bytes. Without userbuf they have 180 to 200, and the contract's own userbuf
/// adds at most about 150.
pub const USERSIG_BYTES_MAX: usize = 4 * 1024;

/// Longest inflated content, in bytes. 4 KiB of base64 could inflate to 3 MiB: this bound stops it.
pub const JSON_BYTES_MAX: usize = 8 * 1024;

/// Takes the JSON out of a UserSig.
pub(super) fn open(usersig: &str) -> Result<Vec<u8>, SigError> {
    if usersig.is_empty() {
        return Err(SigError::Empty);
    }
    if usersig.len() > USERSIG_BYTES_MAX {
        return Err(SigError::TooLong { bytes: usersig.len() });
    }
    let base64 = usersig
        .bytes()
        .enumerate()
        .map(|(at, byte)| match byte {
            b'*' => Ok(b'+'),
            b'-' => Ok(b'/'),
            b'_' => Ok(b'='),
            _ if byte.is_ascii_alphanumeric() => Ok(byte),
            _ => Err(SigError::Alphabet { byte, at }),
        })
        .collect::<Result<Vec<u8>, _>>()?;
    // This engine also refuses missing padding and stray bits in the last character.
    let zlib = STANDARD.decode(base64).map_err(|_| SigError::Base64)?;
    inflate(&zlib)
}

fn inflate(zlib: &[u8]) -> Result<Vec<u8>, SigError> {
    // One byte more than allowed, so that a stream of exactly the allowed size still reaches its end mark.
    let mut out = vec![0; JSON_BYTES_MAX + 1];
    let mut stream = Decompress::new(true);
    let status = stream.decompress(zlib, &mut out, FlushDecompress::Finish).map_err(|_| SigError::Inflate)?;
    let produced = usize::try_from(stream.total_out()).expect("no more than the length of out");
    if produced > JSON_BYTES_MAX {
        return Err(SigError::InflateTooLarge);
    }
    let whole = status == Status::StreamEnd && stream.total_in() == zlib.len() as u64;
    if !whole {
        return Err(SigError::Inflate);
    }
    out.truncate(produced);
    Ok(out)
}

/// Puts JSON into a UserSig.
pub(super) fn seal(json: &[u8]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(json).expect("writing to a Vec cannot fail");
    let zlib = encoder.finish().expect("writing to a Vec cannot fail");
    STANDARD.encode(zlib).replace('+', "*").replace('/', "-").replace('=', "_")
}

//! Smaller forms of images, made by the crate `image`: JPEG, PNG, GIF and WebP in, JPEG (or PNG, where something shines through) out.
//!
//! An image of a few octets can claim 50,000 × 50,000 pixels. So the size in its head is read first, and one with more than
//! [`PIXELS_MAX`] is refused before anything is decoded; who decodes has taken memory for that from a common budget, and the
//! decoder has the same bound.

use std::fs::File;
use std::io::{BufReader, Cursor, Seek as _};

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits};
use serde::{Deserialize, Serialize};

use crate::sign::Variant;

/// Most pixels of an image: 200 MB decoded. Cameras of telephones make 12 to 50 million.
pub(crate) const PIXELS_MAX: u64 = 50_000_000;

/// Octets of a decoded pixel, at most, with the copy that is scaled.
const PIXEL_BYTES: u64 = 4;

/// The longer side of a smaller form, as a multiple of its shorter one: a long strip is made smaller for that.
const STRETCH_MAX: u32 = 4;

/// As the contract numbers formats.
const FORMAT_OTHER: u32 = 255;

/// What a picture is, and its smaller forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Picture {
    /// 1 JPEG, 2 GIF, 3 PNG, 4 BMP, 255 other.
    pub(crate) format: u32,
    /// Pixels, as it is shown: turned as its camera says. 0 where the format is not read.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Where they differ from the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) large: Option<Form>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) thumb: Option<Form>,
}

/// One smaller form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Form {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) size: u64,
    pub(crate) content_type: String,
}

/// Why there is no smaller form.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Bad {
    #[error("the image has {width} × {height} pixels: at most {} million are taken, send it as a file", PIXELS_MAX / 1_000_000)]
    TooLarge { width: u32, height: u32 },
    #[error("the image cannot be decoded: {0}")]
    Damaged(String),
    #[error("cannot read the upload: {0}")]
    Io(#[from] std::io::Error),
}

/// The head of a picture: enough to know what decoding costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    /// `None`: not a format that is decoded.
    format: Option<ImageFormat>,
    number: u32,
    width: u32,
    height: u32,
}

impl Head {
    /// Memory for decoding it, octets.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * PIXEL_BYTES
    }
}

/// Reads the head of a picture whose type is known.
///
/// # Errors
/// [`Bad`]; a picture of a type that is not decoded is good.
pub(crate) fn head(file: &mut File, content_type: &str) -> Result<Head, Bad> {
    let (format, number) = match content_type {
        "image/jpeg" => (Some(ImageFormat::Jpeg), 1),
        "image/gif" => (Some(ImageFormat::Gif), 2),
        "image/png" => (Some(ImageFormat::Png), 3),
        "image/bmp" => (None, 4),
        "image/webp" => (Some(ImageFormat::WebP), FORMAT_OTHER),
        _ => (None, FORMAT_OTHER),
    };
    let Some(known) = format else { return Ok(Head { format, number, width: 0, height: 0 }) };
    file.rewind()?;
    let (width, height) =
        ImageReader::with_format(BufReader::new(file), known).into_dimensions().map_err(damaged)?;
    if width == 0 || height == 0 {
        return Err(Bad::Damaged("it has no pixels".into()));
    }
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        return Err(Bad::TooLarge { width, height });
    }
    Ok(Head { format, number, width, height })
}

/// Smaller forms with what they are.
pub(crate) type Forms = Vec<(Variant, Vec<u8>)>;

/// Decodes a picture and makes its smaller forms. Takes up to a second or two and [`Head::bytes`] of memory.
///
/// # Errors
/// [`Bad`].
pub(crate) fn shrink(file: &mut File, head: Head) -> Result<(Picture, Forms), Bad> {
    let mut picture =
        Picture { format: head.number, width: head.width, height: head.height, large: None, thumb: None };
    let mut forms = Forms::new();
    let Some(format) = head.format else { return Ok((picture, forms)) };
    file.rewind()?;
    let mut reader = ImageReader::with_format(BufReader::new(file), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(head.width);
    limits.max_image_height = Some(head.height);
    // Deep colours take twice of what was counted, and are not counted on.
    limits.max_alloc = Some(head.bytes().max(1 << 20) * 2);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    (picture.width, picture.height) = (image.width(), image.height());
    for (variant, side) in [(Variant::Large, 720), (Variant::Thumb, 198)] {
        let Some((width, height)) = scaled(image.width(), image.height(), side) else { continue };
        // The next one is made of this one: it need not see all pixels again.
        image = image.thumbnail_exact(width, height);
        let (bytes, content_type) = encode(&image).map_err(damaged)?;
        let form = Form {
            width,
            height,
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            content_type: content_type.to_owned(),
        };
        match variant {
            Variant::Large => picture.large = Some(form),
            _ => picture.thumb = Some(form),
        }
        forms.push((variant, bytes));
    }
    Ok((picture, forms))
}

/// The size in which the shorter side has `side` pixels. `None`: it is no larger as it is.
fn scaled(width: u32, height: u32, side: u32) -> Option<(u32, u32)> {
    let (short, long) = (width.min(height), width.max(height));
    if short <= side && long <= side * STRETCH_MAX {
        return None;
    }
    let by = (f64::from(side) / f64::from(short)).min(f64::from(side * STRETCH_MAX) / f64::from(long));
    #[expect(clippy::cast_possible_truncation, reason = "below what it was")]
    let scale = |side: u32| ((f64::from(side) * by).round() as u32).max(1);
    Some((scale(width), scale(height)))
}

fn encode(image: &DynamicImage) -> image::ImageResult<(Vec<u8>, &'static str)> {
    let mut out = Cursor::new(Vec::new());
    if image.color().has_alpha() {
        DynamicImage::from(image.to_rgba8()).write_to(&mut out, ImageFormat::Png)?;
        return Ok((out.into_inner(), "image/png"));
    }
    JpegEncoder::new_with_quality(&mut out, 82).encode_image(&image.to_rgb8())?;
    Ok((out.into_inner(), "image/jpeg"))
}

fn damaged(error: impl std::fmt::Display) -> Bad {
    Bad::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage, Rgba, RgbaImage};
    use std::io::Write as _;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn encoded(image: &DynamicImage, format: ImageFormat) -> File {
        let mut out = Cursor::new(Vec::new());
        image.write_to(&mut out, format).unwrap();
        file(&out.into_inner())
    }

    /// The head of a PNG of that size, with nothing behind it.
    fn bomb(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend_from_slice(&width.to_be_bytes());
        bytes.extend_from_slice(&height.to_be_bytes());
        bytes.extend_from_slice(&[8, 2, 0, 0, 0]);
        let mut crc = u32::MAX;
        for byte in &bytes[12..] {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        bytes.extend_from_slice(&(!crc).to_be_bytes());
        bytes.extend_from_slice(b"\0\0\0\x0aIDAT\x78\x9c\x63\0\0\0\x01\0\x01");
        bytes
    }

    #[test]
    fn smaller_forms_keep_the_shape() {
        let wide = DynamicImage::from(RgbImage::from_pixel(2000, 1000, Rgb([200, 10, 10])));
        let mut jpeg = encoded(&wide, ImageFormat::Jpeg);
        let head = head(&mut jpeg, "image/jpeg").unwrap();
        let (picture, forms) = shrink(&mut jpeg, head).unwrap();
        assert_eq!((picture.format, picture.width, picture.height), (1, 2000, 1000));
        let size = |form: &Option<Form>| form.as_ref().map(|form| (form.width, form.height)).unwrap();
        assert_eq!((size(&picture.large), size(&picture.thumb)), ((1440, 720), (396, 198)));
        for (variant, bytes) in forms {
            let form = image::load_from_memory(&bytes).unwrap();
            let want = if variant == Variant::Large { (1440, 720) } else { (396, 198) };
            assert_eq!((form.width(), form.height()), want);
        }
    }

    #[test]
    fn what_is_small_stays_as_it_is_and_what_shines_through_goes_on_doing_so() {
        let small = DynamicImage::from(RgbaImage::from_pixel(300, 400, Rgba([1, 2, 3, 100])));
        let mut png = encoded(&small, ImageFormat::Png);
        let head = head(&mut png, "image/png").unwrap();
        let (picture, forms) = shrink(&mut png, head).unwrap();
        assert!(picture.large.is_none());
        assert_eq!(picture.thumb.unwrap().content_type, "image/png");
        assert_eq!(forms.len(), 1);
    }

    #[test]
    fn bombs_are_refused_by_their_head_and_damage_is_told() {
        let refused = head(&mut file(&bomb(50_000, 50_000)), "image/png");
        assert!(matches!(refused, Err(Bad::TooLarge { width: 50_000, height: 50_000 })), "{refused:?}");
        let mut truncated = file(&bomb(5_000, 5_000));
        let known = head(&mut truncated, "image/png").unwrap();
        assert!(matches!(shrink(&mut truncated, known), Err(Bad::Damaged(_))));
        assert!(matches!(head(&mut file(b"\xff\xd8\xff"), "image/jpeg"), Err(Bad::Damaged(_))));
        assert_eq!(head(&mut file(b"BM"), "image/bmp").unwrap().number, 4);
    }

    #[test]
    fn sizes_are_bounded_on_both_sides() {
        assert_eq!(scaled(720, 2880, 720), None);
        assert_eq!(scaled(1, 50_000_000, 720), Some((1, 2880)));
        assert_eq!(scaled(721, 721, 720), Some((720, 720)));
    }
}

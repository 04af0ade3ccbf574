use nearport_wire::CONTENT_BYTES_MAX;
use nearport_wire::body::{
    Custom, Face, File, Image, ImageInfo, Location, Message, MessageKey, Relay, Sound, Target,
    Text as TextElement, Tip, Video, element::Element as Kind, target,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn body(value: Value) -> MsgBody {
    Field::Good(MsgBodyIn(value))
}

fn read(value: Value) -> Result<Vec<Element>, BadBody> {
    elements(body(value))
}

fn text() -> BoxedStrategy<String> {
    "[a-z\"\\\\\u{e9}\u{4e2d}\u{1f600}\\x01 ]{0,12}".boxed()
}

fn leaf() -> BoxedStrategy<Kind> {
    let degrees = |max: i32| (-max * 10_000..=max * 10_000).prop_map(|n| f64::from(n) / 10_000.0);
    let info = |kind: u32| {
        (0..9_999u64, any::<u32>(), any::<u32>(), text())
            .prop_map(move |(size, width, height, url)| ImageInfo { r#type: kind, size, width, height, url })
    };
    prop_oneof![
        text().prop_map(|text| Kind::Text(TextElement { text })),
        (text(), degrees(90), degrees(180))
            .prop_map(|(desc, latitude, longitude)| Kind::Location(Location { desc, latitude, longitude })),
        (any::<i32>(), text()).prop_map(|(index, data)| Kind::Face(Face { index, data })),
        (text(), text(), 0..28u64 << 20, any::<u32>()).prop_map(|(url, uuid, size, second)| {
            Kind::Sound(Sound { url, uuid, size, second, download_flag: 2 })
        }),
        (text(), prop_oneof![0..5u32, Just(255)], info(1), info(2), info(3), 0..4usize).prop_map(
            |(uuid, format, a, b, c, count)| {
                let infos = [a, b, c].into_iter().take(count).collect();
                Kind::Image(Image { uuid, format, infos })
            }
        ),
        (text(), text(), 0..100u64 << 20, text()).prop_map(|(url, uuid, size, name)| {
            Kind::File(File { url, uuid, size, name, download_flag: 2 })
        }),
        (vec(text(), 6), vec(0..1_000_000u32, 5)).prop_map(|(texts, numbers)| {
            let text = |at: usize| texts[at].clone();
            Kind::Video(Video {
                video_url: text(0),
                video_uuid: text(1),
                video_size: numbers[0].into(),
                video_second: numbers[1],
                video_format: text(2),
                video_download_flag: 2,
                thumb_url: text(3),
                thumb_uuid: text(4),
                thumb_size: numbers[2].into(),
                thumb_width: numbers[3],
                thumb_height: numbers[4],
                thumb_format: text(5),
                thumb_download_flag: 2,
            })
        }),
    ]
    .boxed()
}

/// Elements of one message: some leaves, at most one custom element, and merged messages in each other.
fn contents() -> BoxedStrategy<Content> {
    let extra = || prop_oneof![3 => Just(String::new()), 1 => Just(r#"{"Own":[1,null,"x"]}"#.to_owned())];
    let plain = (vec((leaf(), extra()), 1..4), proptest::option::of((text(), text())), text()).prop_map(
        |(kinds, custom, cloud_custom_data)| {
            let custom = custom.map(|(data, ext)| Kind::Custom(Custom { data, ext, ..Custom::default() }));
            let kinds = kinds.into_iter().map(|(kind, extra)| Element { extra, ..kind.into() });
            let elements = kinds.chain(custom.map(Element::from)).collect();
            Content { elements, cloud_custom_data }
        },
    );
    plain
        .prop_recursive(4, 24, 3, |inner| {
            let merged = (inner, any::<[u32; 3]>(), any::<bool>()).prop_map(
                |(content, [seq, random, time_s], group)| {
                    let to = match group {
                        true => target::Target::Group("club".to_owned()),
                        false => target::Target::User("bob".to_owned()),
                    };
                    Message {
                        from: "alice".to_owned(),
                        to: Some(Target { target: Some(to) }),
                        content: Some(content),
                        key: Some(MessageKey { seq, random, time_s }),
                        ..Message::default()
                    }
                },
            );
            (vec(merged, 0..3), vec(text(), 0..3), text()).prop_map(|(msg_list, abstract_list, title)| {
                let relay = match msg_list.len() {
                    0 => Relay { json_msg_key: "key".to_owned(), msg_num: 700, ..Relay::default() },
                    _ => Relay::default().with_messages(&msg_list),
                };
                let relay = Relay { title, abstract_list, ..relay };
                Content { elements: vec![Kind::Relay(relay).into()], ..Content::default() }
            })
        })
        .boxed()
}

proptest! {
    #[test]
    fn what_goes_out_comes_in_again(want in contents()) {
        prop_assume!(want.encoded_len() <= CONTENT_BYTES_MAX);
        let out = serde_json::to_string(&to_json(&want.elements)).unwrap();
        let back = body(serde_json::from_str(&out).unwrap());
        let got = content(back, Field::Good(want.cloud_custom_data.clone()));
        prop_assert_eq!(got, Ok(want));
    }

    #[test]
    fn no_body_panics(kind in prop_oneof![proptest::sample::select(&KINDS[..]).prop_map(str::to_owned), text()],
        value in prop_oneof![Just(json!(null)), Just(json!(1e300)), Just(json!(-1)), Just(json!([{}])), Just(json!({"a": []})), Just(json!("x"))],
        name in proptest::sample::select(vec!["Text", "Index", "MsgList", "ImageInfoArray", "Size", "Latitude", "MsgNum", "Own"])) {
        let _ = read(json!([{ "MsgType": kind, "MsgContent": { name: value } }]));
        let _ = read(json!([{ "MsgType": kind, "MsgContent": value }]));
        let _ = read(value);
    }
}

#[test]
fn each_mistake_has_its_code() {
    let element = |kind: &str, content: Value| json!([{ "MsgType": kind, "MsgContent": content }]);
    let custom = json!({ "MsgType": "TIMCustomElem", "MsgContent": { "Data": "x" } });
    let cases = [
        (json!([]), 90002),
        (json!({}), 90007),
        (json!("x"), 90007),
        (json!(["x"]), 90010),
        (json!([{}]), 90010),
        (json!([{ "MsgType": "TIMTextElem" }]), 90010),
        (json!([{ "MsgType": 1, "MsgContent": {} }]), 90010),
        (element("TIMTextElem", json!([])), 90010),
        (element("TIMTextElem", json!({})), 90010),
        (element("TIMTextElem", json!({ "Text": 7 })), 90010),
        (element("TIMGroupTipElem", json!({})), 90010),
        (element("Nothing", json!({})), 90010),
        (element("TIMLocationElem", json!({ "Latitude": 91 })), 90010),
        (element("TIMFaceElem", json!({ "Index": 1.5 })), 90010),
        (element("TIMSoundElem", json!({ "Download_Flag": 1 })), 90010),
        (element("TIMRelayElem", json!({ "MsgNum": 2, "MsgList": [{ "MsgBody": [] }] })), 90010),
        (json!([custom, custom]), 90010),
    ];
    for (value, code) in cases {
        assert_eq!(read(value.clone()).unwrap_err().in_messages().code, code, "{value}");
    }
    assert_eq!(content(Field::Absent, Field::Absent).unwrap_err().in_messages().code, 90002);
    let good = element("TIMTextElem", json!({ "Text": "x" }));
    assert_eq!(content(body(good), Field::Bad).unwrap_err().in_messages().code, 90010);
    assert_eq!(read(json!({})).unwrap_err().in_groups().code, 10004);
}

#[test]
fn twelve_kilobytes_at_the_byte() {
    // Around a text of that length the wire has 11 bytes: three keys, lengths of two bytes.
    let of = |text: usize, cloud: usize| {
        let body = body(json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "x".repeat(text) } }]));
        content(body, Field::Good("y".repeat(cloud)))
    };
    assert_eq!(of(12 * 1024 - 9, 0).map(|content| content.encoded_len()), Ok(CONTENT_BYTES_MAX));
    let long = of(12 * 1024 - 8, 0).unwrap_err();
    assert_eq!((long.clone().in_messages().code, long.in_groups().code), (93000, 80002));
    assert!(of(12 * 1024 - 9 - 12, 10).is_ok() && of(12 * 1024 - 9 - 11, 10).is_err(), "it counts too");
}

#[test]
fn unknown_fields_go_along_and_clients_may_leave_out_what_they_do() {
    let sent = json!([
        { "MsgType": "TIMTextElem", "MsgContent": { "Text": "x", "Own": { "a": [1] }, "Gone": null } },
        { "MsgType": "TIMFileElem", "MsgContent": { "FileName": "a.txt", "FileSize": "7" } },
        { "MsgType": "TIMFaceElem", "MsgContent": { "Index": 3.0 }, "Beside": 1 },
    ]);
    let out = serde_json::to_value(to_json(&read(sent).unwrap())).unwrap();
    let want = json!([
        { "MsgType": "TIMTextElem", "MsgContent": { "Text": "x", "Own": { "a": [1] }, "Gone": null } },
        { "MsgType": "TIMFileElem", "MsgContent":
            { "Url": "", "UUID": "", "FileSize": 7, "FileName": "a.txt", "Download_Flag": 2 } },
        { "MsgType": "TIMFaceElem", "MsgContent": { "Index": 3, "Data": "" } },
    ]);
    assert_eq!(out, want);
    let elements =
        [Element { extra: "no json".into(), ..Kind::Text(TextElement { text: "x".into() }).into() }];
    let out = serde_json::to_value(to_json(&elements)).unwrap();
    assert_eq!(out, json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "x" } }]));
    let tip = Tip { r#type: 4, operator: "ann".into(), members: vec!["ben".into()], ..Tip::default() };
    let out = serde_json::to_value(to_json(&[Kind::Tip(tip).into()])).unwrap();
    assert_eq!(out[0]["MsgType"], "TIMGroupTipElem");
    assert_eq!(out[0]["MsgContent"]["OpType"], 4);
}

#[test]
fn push_settings_are_looked_at() {
    let read = |value: Value| {
        let info = match push::OfflinePushIn::read(value) {
            Some(info) => Field::Good(info),
            None => Field::Bad,
        };
        offline_push(info).map_err(|refusal| refusal.code)
    };
    assert_eq!(offline_push(Field::Absent), Ok(String::new()));
    assert_eq!(read(json!({})), Ok(String::new()));
    let good = json!({ "PushFlag": 0, "Desc": "d", "Ext": "{}", "New": 1,
        "AndroidInfo": { "Sound": "a.mp3", "VIVOClassification": "1" }, "ApnsInfo": { "BadgeMode": 1 } });
    assert_eq!(serde_json::from_str::<Value>(&read(good.clone()).unwrap()).unwrap(), good);
    for bad in [
        json!([]),
        json!("x"),
        json!({ "PushFlag": 2 }),
        json!({ "Title": 7 }),
        json!({ "AndroidInfo": "x" }),
        json!({ "AndroidInfo": { "Sound": 1 } }),
        json!({ "ApnsInfo": { "MutableContent": true } }),
        json!({ "Ext": "x".repeat(4000) }),
    ] {
        assert_eq!(read(bad.clone()), Err(90043), "{bad}");
    }
}

//! Files as elements of messages: what the SDK makes of a file in one call, and fetches back in another.

use std::fs;

use nearport_client::media::{Attachment, Form, MediaError, MediaKind};
use nearport_client::{Content, Element, user};

use super::{login, octets, png};
use crate::node::Node;
use crate::sdk::message;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_becomes_an_element_in_one_call_and_comes_back_in_another() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let (alice, bob) = (login(&node, dir.path(), "alice").await, login(&node, dir.path(), "bob").await);
    let file = |name: &str, content: Vec<u8>| {
        let path = dir.path().join(name);
        fs::write(&path, &content).unwrap();
        (path, content)
    };
    let (picture, picture_content) = file("slope.png", png(1600, 1000));
    let (sound, sound_content) = file("sound.m4a", octets(300_000));
    let (video, video_content) = file("video.MP4", octets(700_000));
    let (report, report_content) = file("report.bin", octets(100_000));
    let mut seen = Vec::new();
    let image = alice.upload_image(&picture, |at, of| seen.push((at, of))).await.unwrap();
    assert_eq!(seen.last(), Some(&(picture_content.len() as u64, picture_content.len() as u64)));
    let sound = alice.upload_sound(&sound, 7, |_, _| {}).await.unwrap();
    let video = alice.upload_video(&video, 9, Some(&picture), |_, _| {}).await.unwrap();
    let report = alice.upload_file(&report, |_, _| {}).await.unwrap();
    let content = Content { elements: vec![image, sound, video, report], ..Content::default() };
    alice.send(user("bob"), content).await.unwrap();

    let got = message(&bob).await;
    let elements: Vec<_> = got.content.elements.iter().collect();
    let attachments = got.attachments();
    let said: Vec<_> = attachments.iter().map(|what| (what.kind, what.second, what.file_name())).collect();
    assert_eq!(
        said,
        [
            (MediaKind::Image, 0, "image".to_owned()),
            (MediaKind::Sound, 7, "sound".to_owned()),
            (MediaKind::Video, 9, "video.mp4".to_owned()),
            (MediaKind::File, 0, "report.bin".to_owned()),
        ]
    );
    let into = dir.path().join("got");
    let contents = [&picture_content, &sound_content, &video_content, &report_content];
    for (what, content) in attachments.iter().zip(contents) {
        let mut last = (0, 0);
        let size = bob.download(what, &into, 1 << 20, |at, of| last = (at, of)).await.unwrap();
        assert_eq!((size, last), (content.len() as u64, (size, size)), "{what:?}");
        assert_eq!(fs::read(&into).unwrap(), *content);
    }
    // Smaller forms, of the image and of the video's picture.
    for (element, form) in
        [(elements[0], Form::Large), (elements[0], Form::Thumbnail), (elements[2], Form::Thumbnail)]
    {
        let what = Attachment::of_form(element, form).unwrap();
        bob.download(&what, &into, 1 << 20, |_, _| {}).await.unwrap();
        let picture = image::load_from_memory(&fs::read(&into).unwrap()).unwrap();
        assert_eq!((picture.width(), picture.height()), (what.width, what.height), "{what:?}");
    }

    // What an element says is not believed: not its size, and its URL only where there is nothing better.
    let elsewhere = dir.path().join("elsewhere");
    let lie = Attachment { size: 99_999, ..attachments[3].clone() };
    let refused = bob.download(&lie, &elsewhere, 1 << 20, |_, _| {}).await;
    assert!(matches!(refused, Err(MediaError::Size { said: 99_999, is: 100_000 })), "{refused:?}");
    let long = bob.download(&attachments[3], &elsewhere, 10, |_, _| {}).await;
    assert!(matches!(long, Err(MediaError::TooLong(10))), "{long:?}");
    assert!(!elsewhere.exists());
    let url = Attachment { url: "http://127.0.0.1:1/".into(), ..attachments[3].clone() };
    assert_eq!(bob.download(&url, &elsewhere, 1 << 20, |_, _| {}).await.unwrap(), 100_000);
    let foreign = Attachment { uuid: "of another service".into(), ..attachments[3].clone() };
    assert_eq!(bob.download(&foreign, &elsewhere, 1 << 20, |_, _| {}).await.unwrap(), 100_000);

    // Given up in the middle, done again: nothing stands in the way.
    let large = octets(4 << 20);
    let (path, _) = file("large", large.clone());
    let (middle, reached) = tokio::sync::oneshot::channel();
    let mut middle = Some(middle);
    let uploading = alice.upload_file(&path, move |at, _| {
        if at > 0 {
            let _ = middle.take().map(|middle| middle.send(()));
        }
    });
    tokio::select! {
        _ = reached => {}
        done = uploading => panic!("at once: {done:?}"),
    }
    let large_file = alice.upload_file(&path, |_, _| {}).await.unwrap();
    let what = Attachment::of(&large_file).unwrap();
    let (middle, reached) = tokio::sync::oneshot::channel();
    let mut middle = Some(middle);
    let whole = dir.path().join("whole");
    let downloading = bob.download(&what, &whole, 8 << 20, move |_, _| {
        let _ = middle.take().map(|middle| middle.send(()));
    });
    tokio::select! {
        _ = reached => {}
        done = downloading => panic!("at once: {done:?}"),
    }
    assert!(!whole.exists(), "a part of it is no file");
    bob.download(&what, &whole, 8 << 20, |_, _| {}).await.unwrap();
    assert_eq!(fs::read(&whole).unwrap(), large);
    let text: Element = nearport_client::text("no file").elements.remove(0);
    assert_eq!(Attachment::of(&text), None);
}

use super::*;
use proptest::prelude::*;

fn in_group(line: &str) -> Result<Typed, String> {
    parse(line, Here { me: "alice", peer: Some(&group("g")), last: Some(7) })
}

fn ask(line: &str) -> Ask {
    match in_group(line) {
        Ok(Typed::Command(Command::Ask(ask))) => ask,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn what_is_listed_is_understood() {
    for spec in COMMANDS.iter().filter(|spec| !spec.name.is_empty()) {
        let words: Vec<_> = spec.takes.split(['[', ']', '|', ' ']).filter(|word| !word.is_empty()).collect();
        let argument = match spec.takes {
            "" => "",
            "TIME" => "2h",
            "on|off" => "on",
            "#N …" => "#3",
            "[N]" => "3",
            // The last message is meant where none is.
            _ => words
                .iter()
                .copied()
                .find(|word| !word.starts_with('#') && *word != "TYPE")
                .unwrap_or_default(),
        };
        let line = format!("{} {argument}", spec.name);
        assert!(in_group(line.trim()).is_ok(), "{line}: {:?}", in_group(line.trim()));
        assert!(!about(spec).is_empty(), "{spec:?}");
    }
    let help = help();
    for spec in COMMANDS.iter().filter(|spec| !spec.name.is_empty()) {
        assert!(help.iter().any(|line| line.contains(&format!("/{}", spec.name))), "{spec:?}");
    }
    assert!(help.iter().all(|line| line.chars().count() < 110), "{help:?}");
}

#[test]
fn messages_are_meant_by_number_or_as_the_last() {
    let g = || group("g");
    assert_eq!(ask("edit other words"), Ask::Edit(g(), 7, "other words".into()));
    assert_eq!(ask("edit #3 other words"), Ask::Edit(g(), 3, "other words".into()));
    assert_eq!(ask("edit #tag is text"), Ask::Edit(g(), 7, "#tag is text".into()));
    assert_eq!(ask("recall"), Ask::Recall(g(), 7, String::new()));
    assert_eq!(ask("recall #2 a slip"), Ask::Recall(g(), 2, "a slip".into()));
    assert_eq!(ask("delete #2 3"), Ask::Delete(g(), vec![2, 3]));
    assert_eq!(in_group("read #4"), Ok(Typed::Read(g(), 4)));
    assert!(in_group("delete two").is_err());
    let nothing = Here { me: "alice", peer: Some(&user("bob")), last: None };
    assert_eq!(parse("recall", nothing), Err("you have written nothing here yet".into()));
    assert_eq!(parse("members", nothing), Err("not in a group: /group ID first".into()));
    let nowhere = Here { peer: None, ..nothing };
    assert_eq!(parse("clear", nowhere), Err("no conversation yet: /to NAME first".into()));
}

#[test]
fn times_and_types_are_told_from_names() {
    let g = || "g".to_owned();
    assert_eq!(ask("mute bob carol 2m"), Ask::Mute(g(), vec!["bob".into(), "carol".into()], 120));
    assert_eq!(ask("mute 2m"), Ask::Mute(g(), vec!["2m".into()], FOR_EVER), "a user of that name");
    assert_eq!(ask("mute bob 1ms"), Ask::Mute(g(), vec!["bob".into()], 1), "0 would end it");
    assert_eq!(ask("unmute bob"), Ask::Mute(g(), vec!["bob".into()], 0));
    assert_eq!(ask("ban bob 1h"), Ask::Ban(g(), "bob".into(), 3600));
    assert_eq!(ask("create Public Our place"), Ask::Create("Public".into(), "Our place".into()));
    assert_eq!(ask("create Our place"), Ask::Create("Work".into(), "Our place".into()));
    assert_eq!(ask("admit bob"), Ask::Decide(g(), "bob".into(), true));
    assert_eq!(ask("refuse alice h"), Ask::Decide("h".into(), "alice".into(), false));
    assert!(in_group("mute").is_err());
    assert!(in_group("ban bob soon").is_err());
}

#[test]
fn paths_may_have_spaces() {
    let upload = |kind, path: &str, second, cover: Option<&str>| {
        let cover = cover.map(PathBuf::from);
        Ok(Typed::Command(Command::Upload(Upload { kind, path: path.into(), second, cover })))
    };
    assert_eq!(in_group("file 'a b.pdf'"), upload(MediaKind::File, "a b.pdf", 0, None));
    assert_eq!(in_group("image a\\ b.png"), upload(MediaKind::Image, "a b.png", 0, None));
    assert_eq!(in_group("sound x.m4a 7"), upload(MediaKind::Sound, "x.m4a", 7, None));
    assert_eq!(in_group("video x.mp4 7 x.jpg"), upload(MediaKind::Video, "x.mp4", 7, Some("x.jpg")));
    assert!(in_group("file a b").unwrap_err().contains("quotes"));
    assert!(in_group("sound x.m4a long").is_err());
    let path = || Some(PathBuf::from("dir/x"));
    assert_eq!(in_group("get 12 dir/x"), Ok(Typed::Get(group("g"), 12, path())));
    assert_eq!(in_group("get #12"), Ok(Typed::Get(group("g"), 12, None)));
    assert_eq!(
        in_group("get abc-1 dir/x"),
        Ok(Typed::Command(Command::Get(Wanted::Uuid("abc-1".into()), path())))
    );
}

proptest! {
    #[test]
    fn what_is_escaped_is_one_word(path in "\\PC{1,40}") {
        prop_assert_eq!(words(&escape(&path)), [path]);
    }

    #[test]
    fn no_line_is_too_odd(line in ".{0,60}") {
        let _ = in_group(&line);
        let _ = words(&line);
    }
}

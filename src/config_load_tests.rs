use std::time::Duration;

use super::*;
use proptest::prelude::*;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn flags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn file(text: &str) -> Result<Loaded, ConfigError> {
    load(Sources { flags: &[], env: &env(&[]), file: Some(("n.toml", text)) })
}

#[test]
fn nothing_given_is_the_default() {
    let loaded = load(Sources { flags: &[], env: &env(&[("PATH", "/bin")]), file: None }).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.origin("edge.listen"), Origin::Default);
    assert_eq!(loaded.value("edge.listen").unwrap(), "\"127.0.0.1:4433\"");
    assert_eq!(loaded.value("edge.shards"), None);
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let text = "data = 'a'\n[edge]\nlisten = '127.0.0.1:1'\nshards = 1\n\n[drain]\nwithin = '1s'\n";
    let env = env(&[("NEARPORT__EDGE__LISTEN", "127.0.0.1:2"), ("NEARPORT__EDGE__SHARDS", "2")]);
    let flags = flags(&[("edge.shards", "3"), ("edge.shards", "4"), ("data", "17")]);
    let loaded = load(Sources { flags: &flags, env: &env, file: Some(("n.toml", text)) }).unwrap();
    assert_eq!(loaded.config.edge.shards.unwrap().get(), 4);
    assert_eq!(loaded.config.edge.listen.port(), 2);
    assert_eq!(loaded.config.drain.within, Duration::from_secs(1));
    assert_eq!(loaded.config.data.to_str(), Some("17"), "a number where text is wanted is text");
    assert_eq!(loaded.origin("drain.within"), Origin::File("n.toml".into(), 7));
    assert_eq!(loaded.origin("edge.listen"), Origin::Env("NEARPORT__EDGE__LISTEN".into()));
    assert_eq!(loaded.origin("edge.shards"), Origin::Flag("edge.shards".into()));
}

#[test]
fn refusals_name_place_key_and_nearest_key() {
    let cases = [
        ("\n[edge]\nlisen = 'x'\n", "n.toml:3: unknown key `edge.lisen`: did you mean `edge.listen`?"),
        ("shards = 2", "n.toml:1: unknown key `shards`: did you mean `edge.shards`?"),
        ("[egde]\nlisten = '127.0.0.1:1'", "n.toml:1: unknown key `egde`"),
        ("wholly.other = 1", "n.toml:1: unknown key `wholly`: `nearport config explain` lists all keys"),
        ("edge = 3", "n.toml:1: `edge`: this is a section, not a value"),
        ("[data]\nx = 1", "n.toml:1: `data`: invalid type: map, expected path string"),
        ("\n\nedge.shards = 'many'", "n.toml:3: `edge.shards`: invalid type"),
        ("edge.shards = 0", "n.toml:1: `edge.shards`: invalid value"),
        ("edge.shards = 33", "n.toml:1: `edge.shards`: 33 is more than 32"),
        ("edge.listen = '127.0.0.1'", "n.toml:1: `edge.listen`: invalid socket address syntax"),
        ("edge.resume_ttl = '31d'", "n.toml:1: `edge.resume_ttl`: must be at most 30d"),
        ("drain.within = '5'", "n.toml:1: `drain.within`: `5` is not a duration"),
        ("\ntls.cert = 'a.pem'", "n.toml:2: `tls.cert`: it needs tls.key beside it"),
        ("log.level = 'a=b=c'", "n.toml:1: `log.level`: "),
        (
            "\n[[chat.groups.types]]\nname = 'Class'\nbase = 'None'",
            "n.toml:2: `chat.groups.types`: group type \"Class\": its base \"None\" does not exist",
        ),
        (
            "[[chat.groups.types]]\nname = 'A'\nbase = 'Public'\nkik = 'owner'",
            "n.toml:1: `chat.groups.types`: unknown field `kik`",
        ),
        (
            "[[chat.groups.fields]]\nname = '1'\nof = 'group'",
            "n.toml:1: `chat.groups.fields`: \"1\": keys have",
        ),
        ("a = 1\nb = ", "n.toml:2: "),
        ("data = 'a'\ndata = 'b'", "n.toml:2: "),
    ];
    for (text, want) in cases {
        let error = file(text).unwrap_err().to_string();
        assert!(error.starts_with(want), "{text:?} gave {error:?}");
    }
}

#[test]
fn types_and_fields_of_groups_are_tables_of_their_own() {
    let text = "[[chat.groups.types]]\nname = 'Class'\nbase = 'Public'\nmembers_max = 50\nkick = 'owner'\n\n\
                [[chat.groups.fields]]\nname = 'level'\nof = 'member'\nread = 'admin'\n\n[chat.groups]\njoined_max = 7\n";
    let loaded = file(text).unwrap();
    let groups = &loaded.config.chat.groups;
    assert_eq!((groups.types.len(), groups.fields.len(), groups.joined_max), (1, 1, 7));
    assert_eq!(loaded.origin("chat.groups.joined_max"), Origin::File("n.toml".into(), 13));
    let printed = toml::to_string(&loaded.config).unwrap();
    assert_eq!(file(&printed).unwrap().config, loaded.config);
}

#[test]
fn variables_and_flags_are_checked_like_the_file() {
    let none = env(&[]);
    let at_env = |name: &str, value: &str| {
        load(Sources { flags: &[], env: &env(&[(name, value)]), file: None }).unwrap_err().to_string()
    };
    assert_eq!(
        at_env("NEARPORT__EDGE__LISTNE", "x"),
        "environment NEARPORT__EDGE__LISTNE: unknown key `edge.listne`: did you mean `edge.listen`?"
    );
    assert!(
        at_env("NEARPORT__EDGE__SHARDS", "x")
            .starts_with("environment NEARPORT__EDGE__SHARDS: `edge.shards`: ")
    );
    let flags = flags(&[("store.cache_byte", "1")]);
    let error = load(Sources { flags: &flags, env: &none, file: None }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--set store.cache_byte: unknown key `store.cache_byte`: did you mean `store.cache_bytes`?"
    );
}

#[test]
fn what_is_printed_loads_as_the_same_settings() {
    let flags = flags(&[("edge.shards", "7"), ("drain.delay", "250ms"), ("log.format", "json")]);
    let loaded = load(Sources { flags: &flags, env: &env(&[]), file: None }).unwrap();
    assert_eq!(file(&toml::to_string(&loaded.config).unwrap()).unwrap().config, loaded.config);
}

proptest! {
    #[test]
    fn no_text_panics(text in "[a-z_.=\\[\\] \n'\"0-9{}]{0,80}") {
        let _ = file(&text);
        let flag = [("edge.listen".to_owned(), text.clone()), (text.clone(), text.clone())];
        let _ = load(Sources { flags: &flag[..1], env: &env(&[]), file: None });
        let _ = load(Sources { flags: &flag[1..], env: &env(&[]), file: None });
    }

    #[test]
    fn the_distance_is_a_distance(a in "[a-c]{0,6}", b in "[a-c]{0,6}", c in "[a-c]{0,6}") {
        prop_assert_eq!(edit_distance(&a, &b) == 0, a == b);
        prop_assert_eq!(edit_distance(&a, &b), edit_distance(&b, &a));
        prop_assert!(edit_distance(&a, &c) <= edit_distance(&a, &b) + edit_distance(&b, &c));
    }
}

use super::*;
use proptest::prelude::*;

const SHIPPED: &str = include_str!("../../../../geo/pops.toml");

fn entry(id: &str, lat: &str, more: &str) -> String {
    format!(
        "[[pop]]\nid = \"{id}\"\nplace = \"P\"\ncountry = \"SG\"\ncontinent = \"AS\"\nlat = {lat}\nlon = 2.0\n{more}\n"
    )
}

fn refused(text: &str) -> (usize, String) {
    let error = PopTable::parse(text).expect_err(text);
    (error.line, error.message)
}

#[test]
fn the_shipped_table_is_whole() {
    let table = PopTable::parse(SHIPPED).unwrap();
    assert_eq!(table.len(), 32);
    let singapore = table.get(table.find("sg-singapore").unwrap()).unwrap();
    assert_eq!((singapore.country.as_str(), singapore.continent), ("SG", Continent::Asia));
    assert!(singapore.at.km_to(Coordinates::new(1.35, 103.82).unwrap()) < 5.0);
    assert_eq!(table.select(|pop| pop.country.as_str() == "CN").len(), 3);
}

#[test]
fn a_pop_is_found_in_another_table_by_its_id() {
    let table = |ids: &[&str]| {
        PopTable::parse(&ids.iter().map(|id| entry(id, "1.0", "")).collect::<String>()).unwrap()
    };
    let (one, other) = (table(&["a", "b", "c"]), table(&["c", "a"]));
    let places: Vec<_> = one.iter().map(|(pop, _)| one.place_in(pop, &other).map(PopIndex::get)).collect();
    assert_eq!(places, [Some(1), None, Some(0)]);
    assert_eq!(other.place_in(PopIndex::new(2).unwrap(), &one), None, "it is in neither");
}

#[test]
fn an_entry_has_defaults() {
    let table = PopTable::parse(&entry("a", "1.0", "")).unwrap();
    let pop = &table.pops()[0];
    assert_eq!((pop.capacity, pop.failure_domain.as_str(), pop.region.as_deref()), (CAPACITY, "a", None));
    assert_eq!(pop.capabilities.len(), 4);
    assert_eq!(table.all().len(), 1);
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_a_way_out() {
    let two = format!("{}{}", entry("a", "1.0", ""), entry("a", "1.0", ""));
    let (line, message) = refused(&two);
    assert_eq!(line, 10);
    assert!(
        message.contains("\"a\"") && message.contains("line 2") && message.contains("another"),
        "{message}"
    );

    let (line, message) = refused(&entry("a", "91.0", ""));
    assert_eq!(line, 6);
    assert!(message.contains("91, 2") && message.contains("swapped"), "{message}");
    let (line, _) = refused(&entry("a", "nan", ""));
    assert_eq!(line, 6);

    let (line, message) = refused(&entry("a", "1.0", "capcity = 5"));
    assert_eq!(line, 8);
    assert!(message.contains("capcity"), "{message}");

    for (more, word) in [
        ("capacity = 0", "drain"),
        ("capabilities = [\"smtp\"]", "smtp"),
        ("addresses = [\"sg.example\"]", "endpoints"),
        ("region = \"EU West\"", "EU West"),
        ("bias_ms = 2000", "-1000 to 1000"),
        ("bias_ms = nan", "-1000 to 1000"),
        ("endpoints = { quick = \"x\" }", "quick"),
    ] {
        let (line, message) = refused(&entry("a", "1.0", more));
        assert_eq!(line, 8, "{more}");
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(refused("").0, 1);
    assert!(refused("[[pop]\n").1.contains("keys"));
    let many: String = (0..=POPS_MAX).map(|n| entry(&format!("p{n}"), "1.0", "")).collect();
    assert!(refused(&many).1.contains("64"));
}

#[test]
fn a_set_is_a_set() {
    let index = |n| PopIndex::new(n).unwrap();
    let mut set: PopSet = [index(3), index(63), index(0)].into_iter().collect();
    assert_eq!(set.iter().map(PopIndex::get).collect::<Vec<_>>(), [0, 3, 63]);
    set.remove(index(3));
    assert!(set.has(index(63)) && !set.has(index(3)) && set.len() == 2);
    assert_eq!(PopSet::first(64).len(), 64);
    assert_eq!(PopSet::first(0), PopSet::NONE);
    assert_eq!(PopIndex::new(64), None);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = PopTable::parse(&text);
    }

    #[test]
    fn a_broken_table_is_read_or_refused_with_a_line_of_it(at in 0..SHIPPED.len(), with in "[\\PC\n]{0,3}", cut in 0..40_usize) {
        let start = (0..=at).rev().find(|at| SHIPPED.is_char_boundary(*at)).unwrap();
        let end = (start + cut..).find(|at| *at >= SHIPPED.len() || SHIPPED.is_char_boundary(*at)).unwrap().min(SHIPPED.len());
        let text = format!("{}{with}{}", &SHIPPED[..start], &SHIPPED[end..]);
        if let Err(error) = PopTable::parse(&text) {
            prop_assert!(error.line >= 1 && error.line <= text.lines().count() + 1);
        }
    }

    #[test]
    fn every_place_is_kept(lat in -90.0..=90.0_f64, lon in -180.0..=180.0_f64, capacity in 1..u32::MAX) {
        let text = entry("a", &format!("{lat:?}"), &format!("capacity = {capacity}"));
        let text = text.replace("lon = 2.0", &format!("lon = {lon:?}"));
        let table = PopTable::parse(&text).unwrap();
        prop_assert_eq!(table.pops()[0].at, Coordinates::new(lat, lon).unwrap());
        prop_assert_eq!(table.pops()[0].capacity, capacity);
    }
}

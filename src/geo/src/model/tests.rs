use super::*;
use proptest::prelude::*;

fn at(lat: f64, lon: f64) -> Coordinates {
    Coordinates::new(lat, lon).unwrap()
}

fn target(country: &str, lat: f64, lon: f64) -> Target {
    Target { at: at(lat, lon), country: country.parse().unwrap() }
}

fn site(country: &str, place: Coordinates, rtts: &[f64]) -> Site {
    let measured =
        rtts.iter().map(|rtt_ms| Some(Measured { rtt_ms: *rtt_ms, clients: 1.0, at: Duration::ZERO }));
    Site {
        country: country.parse().unwrap(),
        continent: Continent::Asia,
        at: place,
        measured: measured.collect(),
    }
}

fn origin(country: &str, place: Coordinates) -> Origin {
    Origin { country: Some(country.parse().unwrap()), continent: Some(Continent::Asia), at: place }
}

#[test]
fn a_detour_is_learned_near_it_and_forgotten_with_time() {
    let pops = [target("VN", 10.0, 106.0), target("HK", 22.0, 114.0)];
    let hanoi = at(21.0, 105.8);
    // Nearer and far slower: the second PoP.
    let sites: Vec<Site> = (0..8).map(|_| site("VN", hanoi, &[25.0, 280.0])).collect();
    let model = |now| Model::fit(&pops, &sites, Tuning::default(), now);
    let fresh = model(Duration::ZERO).predict(&origin("VN", hanoi));
    assert!(fresh[0] + 100.0 < fresh[1], "{fresh:?}");
    let elsewhere =
        model(Duration::ZERO).predict(&Origin { country: None, continent: None, at: at(50.0, 8.0) });
    assert!(elsewhere[1] - elsewhere[0] < fresh[1] - fresh[0], "{elsewhere:?}");
    let old = model(Duration::from_hours(24 * 12)).predict(&origin("VN", hanoi));
    assert!(old[1] < old[0] + 10.0, "{old:?}");
}

#[test]
fn scenarios_weigh_their_share_and_no_round_trip_beats_light() {
    let pops = [target("VN", 10.0, 106.0), target("HK", 22.0, 114.0)];
    let sites = [site("VN", at(21.0, 105.8), &[25.0, 280.0]), site("TH", at(13.7, 100.5), &[1.0, 40.0])];
    let model = Model::fit(&pops, &sites, Tuning::default(), Duration::ZERO);
    let from = origin("VN", at(-30.0, -60.0));
    let mut scenarios = Vec::new();
    model.scenarios(&from, 0.25, &mut scenarios);
    let total: f32 = scenarios.iter().map(|scenario| scenario.weight).sum();
    assert!((total - 0.25).abs() < 1e-3, "{total}");
    for scenario in &scenarios {
        for (rtt, pop) in scenario.rtt_ms.iter().zip(pops) {
            assert!(f64::from(*rtt) >= from.at.km_to(pop.at) / KM_PER_MS_MAX - 0.01);
        }
    }
}

#[test]
fn without_evidence_the_line_decides() {
    let pops = [target("VN", 10.0, 106.0), target("HK", 22.0, 114.0)];
    let model = Model::fit(&pops, &[], Tuning::default(), Duration::ZERO);
    let predicted = model.predict(&origin("VN", at(21.0, 105.8)));
    assert!(predicted[1] < predicted[0]);
    assert_eq!(model.evidence(&origin("VN", at(21.0, 105.8))), [0.0, 0.0]);
}

#[test]
fn what_foreigners_see_of_a_pop_is_not_what_its_own_country_sees() {
    let pops = [target("VN", 10.8, 106.6), target("HK", 22.0, 114.0)];
    let sites: Vec<Site> = (0..12).map(|_| site("KH", at(11.5, 104.9), &[250.0, 40.0])).collect();
    let model = Model::fit(&pops, &sites, Tuning::default(), Duration::ZERO);
    let border = at(11.4, 105.2);
    let (home, abroad) = (model.predict(&origin("VN", border)), model.predict(&origin("TH", border)));
    assert!(home[0] < 50.0 && abroad[0] > 150.0, "{home:?} {abroad:?}");
}

#[test]
fn what_was_seen_over_another_distance_says_little() {
    let pops = [target("DE", 50.1, 8.7)];
    let german: Vec<Site> = (0..20).map(|_| site("AT", at(48.2, 16.4), &[90.0])).collect();
    let model = Model::fit(&pops, &german, Tuning::default(), Duration::ZERO);
    let line = |place: Coordinates| model.line().at(place.km_to(pops[0].at));
    let (near, far) = (at(47.5, 19.0), at(-33.9, 151.2));
    assert!(model.predict(&origin("HU", near))[0] > line(near) + 20.0);
    assert!((model.predict(&origin("AU", far))[0] - line(far)).abs() < 1.0);
}

proptest! {
    #[test]
    fn whatever_was_measured_predictions_and_scenarios_are_numbers(
        rows in prop::collection::vec((-80.0..80.0_f64, -180.0..180.0_f64, 0..4_usize,
            prop::collection::vec(prop::option::of((0.01..5000.0_f64, 0.0..40.0_f64, 0..400_u64)), 5)), 0..12),
        (lat, lon, country) in (-90.0..90.0_f64, -180.0..180.0_f64, 0..5_usize),
        share in 0.001..1.0_f64,
    ) {
        const COUNTRIES: [&str; 5] = ["VN", "KH", "US", "DE", "ZA"];
        let pops = [("VN", 10.0, 106.0), ("US", 39.0, -77.0), ("DE", 50.0, 8.0), ("ZA", -26.0, 28.0), ("US", 37.0, -122.0)];
        let pops = pops.map(|(country, lat, lon)| target(country, lat, lon));
        let sites: Vec<Site> = rows.iter().map(|(lat, lon, country, measured)| Site {
            measured: measured.iter().map(|one| one.map(|(rtt_ms, clients, hours)| {
                Measured { rtt_ms, clients, at: Duration::from_hours(hours) }
            })).collect(),
            ..site(COUNTRIES[*country], at(*lat, *lon), &[])
        }).collect();
        let model = Model::fit(&pops, &sites, Tuning::default(), Duration::from_hours(400));
        let from = origin(COUNTRIES[country], at(lat, lon));
        prop_assert!(model.predict(&from).iter().all(|ms| ms.is_finite() && *ms >= 0.0));
        let mut scenarios = Vec::new();
        model.scenarios(&from, share, &mut scenarios);
        let total: f32 = scenarios.iter().map(|scenario| scenario.weight).sum();
        prop_assert!((f64::from(total) - share).abs() < 0.01 * share, "{total} of {share}");
        prop_assert!(scenarios.iter().flat_map(|one| &one.rtt_ms).all(|ms| ms.is_finite() && *ms >= 0.0));
    }
}

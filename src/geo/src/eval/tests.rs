use super::*;

const HEAD: &str =
    "client_city,client_country,client_lat,client_lon,pop_city,pop_country,pop_lat,pop_lon,rtt_ms_min\n";

fn read(rows: &str) -> Result<Vec<Client>, crate::CsvError> {
    Data::default().read(&format!("{HEAD}{rows}"), &World::shipped().unwrap())
}

/// Cities on a line in one country, and two PoPs: the nearer is slower for all of them.
fn detour() -> (Data, Vec<Client>) {
    let mut rows = HEAD.to_owned();
    for n in 0..20 {
        let lat = 11.0 + f64::from(n) / 2.0;
        rows.push_str(&format!("C{n},VN,{lat},106,Near,VN,16,106,200\n"));
        rows.push_str(&format!("C{n},VN,{lat},106,Far,SG,1.3,103.8,30\n"));
    }
    let mut data = Data::default();
    let clients = data.read(&rows, &World::shipped().unwrap()).unwrap();
    (data, clients)
}

#[test]
fn a_bad_file_is_refused_with_line_and_column() {
    let good = "Hanoi,VN,21,105.8,X,SG,1,103,9.5\n";
    assert_eq!(read(good).unwrap()[0].continent, Continent::Asia);
    for (row, line, column) in [
        ("Hanoi,VN,21,105.8,X,SG,1,103,-1\n", 2, "rtt_ms_min"),
        ("Hanoi,VN,21,105.8,X,SG,1,103,NaN\n", 2, "rtt_ms_min"),
        ("Hanoi,VN,91,105.8,X,SG,1,103,1\n", 2, "client_lat"),
        ("Hanoi,Vietnam,21,105.8,X,SG,1,103,1\n", 2, "client_country"),
        ("Hanoi,VN,21,105.8,X,SG,1,103\n", 2, "rtt_ms_min"),
        (&format!("{good}{good}"), 3, "pop_city"),
        (&format!("{good}Hue,VN,16,107,X,SG,2,103,9\n"), 3, "pop_lat"),
        ("", 1, "client_city"),
    ] {
        let error = read(row).unwrap_err();
        assert_eq!((error.line, error.column.as_str()), (line, column), "{row}");
    }
}

#[test]
fn what_was_learned_beats_distance_and_the_same_seed_gives_the_same_report() {
    let (data, clients) = detour();
    let world = World::shipped().unwrap();
    let setting = Setting { pops: &data.pops, world: &world, tuning: Tuning::default() };
    let report = cross_validate(setting, &clients, 2, 1);
    let mean = |policy| report.policy(policy).unwrap().overall.mean_ms;
    assert!(mean(Policy::Nearest) > 100.0, "{}", mean(Policy::Nearest));
    assert!(mean(Policy::LearnedTop1) < 1.0, "{}", mean(Policy::LearnedTop1));
    assert_eq!((report.clients, mean(Policy::Top3)), (20, 0.0), "two PoPs are all in any set of three");
    assert_eq!(report, cross_validate(setting, &clients, 2, 1));
}

#[test]
fn folds_are_even_and_neighbours_stay_together() {
    let (_, mut clients) = detour();
    clients[1].at = clients[0].at;
    for seed in 0..20 {
        let folds = folds_of(&clients, 2, seed);
        assert_eq!(folds[0], folds[1]);
        assert!((9..=11).contains(&folds.iter().filter(|fold| **fold == 0).count()));
    }
}

#[test]
fn realistic_feedback_is_five_of_a_clients_own_measurements_and_no_more() {
    let mut rows = HEAD.to_owned();
    for n in 0..12 {
        for pop in 0..9 {
            let rtt = 10 + (n * 7 + pop * 13) % 40;
            rows.push_str(&format!("C{n},VN,{},106,P{pop},SG,{},103.8,{rtt}\n", 9 + n, 1 + pop));
        }
    }
    let mut data = Data::default();
    let world = World::shipped().unwrap();
    let clients = data.read(&rows, &world).unwrap();
    let field = Field::new(Setting { pops: &data.pops, world: &world, tuning: Tuning::default() });
    let sites = field.feedback(&clients);
    assert_eq!(sites.len(), clients.len());
    for site in &sites {
        let of = clients.iter().find(|client| client.at == site.at).unwrap();
        let revealed = site.measured.iter().zip(&of.rtt_ms);
        let known: Vec<_> =
            revealed.filter_map(|(seen, truth)| Some((seen.as_ref()?.rtt_ms, *truth))).collect();
        assert_eq!(known.len(), 5);
        assert!(known.iter().all(|(seen, truth)| Some(*seen) == *truth));
    }
}

#[test]
fn a_spread_is_over_the_ways_of_cutting() {
    let (data, clients) = detour();
    let world = World::shipped().unwrap();
    let setting = Setting { pops: &data.pops, world: &world, tuning: Tuning::default() };
    let reports: Vec<_> = (1..4).map(|seed| cross_validate(setting, &clients, 2, seed)).collect();
    let spread = spread(&reports);
    assert_eq!(spread.len(), Policy::ALL.len());
    assert!(spread[0].mean_ms.mean > 100.0 && spread[0].good == 0.0, "{:?}", spread[0]);
    assert!((spread[1].good - 1.0).abs() < 1e-9 && spread[1].mean_ms.deviation == 0.0, "{:?}", spread[1]);
    assert!((Spread::of(&[1.0, 3.0]).deviation - 1.0).abs() < 1e-9);
}

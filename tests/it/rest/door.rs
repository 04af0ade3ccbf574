//! Who gets in, and what is said to whom does not.

use serde_json::json;

use super::start;

const CHECK: &str = "im_open_login_svc/account_check";

#[test]
fn only_administrators_get_in_and_each_other_hears_why() {
    let (_dir, _node, back_end) = start(&[]);
    let body = json!({ "CheckItem": [{ "UserID": "alice" }] }).to_string();
    let (app, good) = (back_end.app, back_end.usersig("administrator"));
    let code =
        |path: &str, query: &str, body: &str| back_end.ask(path, query, body)["ErrorCode"].as_u64().unwrap();
    let check = |query: &str| code(CHECK, query, &body);
    assert_eq!(
        check(&format!("usersig={good}&identifier=administrator&sdkappid={app}")),
        0,
        "in any order, without random"
    );
    assert_eq!(check(&format!("identifier=administrator&usersig={good}")), 60012);
    assert_eq!(check(&format!("sdkappid=&identifier=administrator&usersig={good}")), 60012);
    assert_eq!(check(&format!("sdkappid=x&identifier=administrator&usersig={good}")), 60006);
    assert_eq!(check(&format!("sdkappid=7&identifier=administrator&usersig={good}")), 60006);
    assert_eq!(check(&format!("sdkappid={app}&usersig={good}")), 60004);
    assert_eq!(check(&format!("sdkappid={app}&identifier=administrator")), 60004);
    assert_eq!(check(&format!("sdkappid={app}&identifier=administrator&usersig=")), 70002);
    assert_eq!(check(&format!("sdkappid={app}&identifier=administrator&usersig=x")), 70003);
    assert_eq!(check(&format!("sdkappid={app}&identifier=admin&usersig={good}")), 70013);
    let alice = back_end.usersig("alice");
    assert_eq!(check(&format!("sdkappid={app}&identifier=alice&usersig={alice}")), 70403);
    let good = back_end.query();
    back_end.done(CHECK, &json!({ "CheckItem": [{ "UserID": "alice" }] }));
    assert_eq!(code("im_open_login_svc/nothing", &good, &body), 60009);
    assert_eq!(code("group_open_http_svc/nothing", &good, &body), 10003);
    assert_eq!(code("nobody/nothing", &good, &body), 60009);
    // What a gateway would refuse is still a handled request.
    let target = format!("/v4/{CHECK}?{good}");
    let coded = |headers: &str, body: &[u8]| {
        let (status, answer) = back_end.post(&target, headers, body);
        (status, serde_json::from_str::<serde_json::Value>(&answer).unwrap()["ErrorCode"].as_u64().unwrap())
    };
    assert_eq!(coded("content-encoding: gzip\r\n", b"x"), (200, 60002));
    assert_eq!(coded("content-type: application/x-www-form-urlencoded\r\n", body.as_bytes()), (200, 0));
    assert_eq!(coded("", &vec![b' '; (2 << 20) + 1]), (200, 93000));
    assert_eq!(coded("", b"\xff{}"), (200, 70402));
}

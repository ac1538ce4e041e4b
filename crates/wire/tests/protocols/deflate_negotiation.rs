//! RFC 7692 sections 5, 7 and 7.1: what is offered, answered and checked.

use proptest::prelude::*;
use vespiary_trace::claims;
use vespiary_wire::websocket::deflate::{
    Direction, Fault, Offer, Parameters, Settings, accept, check,
};
use vespiary_wire::websocket::extension::{self, Extension, Malformed};
use vespiary_wire::websocket::profile::Version;

const ANY: Direction = Direction {
    context_takeover: true,
    window_bits: 15,
};
const SMALL: Direction = Direction {
    context_takeover: false,
    window_bits: 10,
};
const LARGEST: Settings = Settings {
    server: ANY,
    client: ANY,
};
const SMALLEST: Settings = Settings {
    server: SMALL,
    client: SMALL,
};

fn parse(value: &str) -> Result<Vec<Extension>, Malformed> {
    extension::parse(Version::Rfc6455.profile(), value)
}

fn answered(offers: &str, settings: Settings) -> Option<String> {
    let offers = parse(offers).unwrap();
    accept(&offers, &settings).map(|parameters| parameters.to_string())
}

fn checked(offer: &str, answer: &str) -> Result<Option<Parameters>, Fault> {
    let offer = &parse(offer).unwrap()[0];
    let offer = Offer::read(&offer.parameters).unwrap();
    check(Some(&offer), &parse(answer).unwrap())
}

#[test]
fn section_7_1_3_the_examples_are_answered() {
    claims!("rfc7692/5/5");
    let some = |answer: &str| Some(answer.to_owned());
    assert_eq!(
        answered("permessage-deflate", LARGEST),
        some("permessage-deflate")
    );
    let offers = "permessage-deflate; client_max_window_bits; server_max_window_bits=10, \
                  permessage-deflate; client_max_window_bits";
    let first = "permessage-deflate; server_max_window_bits=10";
    assert_eq!(answered(offers, LARGEST), some(first));
}

#[test]
fn section_5_an_offer_of_another_extension_is_declined() {
    claims!(
        "rfc7692/5/11",
        "rfc6455/4.2.2/10",
        "rfc6455/4.2.2/11",
        "rfc6455/9/2"
    );
    assert_eq!(
        answered("permessage-bzip2; x=1, deflate-stream", LARGEST),
        None
    );
    let offers = "permessage-bzip2, permessage-deflate";
    assert_eq!(
        answered(offers, LARGEST),
        Some("permessage-deflate".to_owned())
    );
}

#[test]
fn section_7_a_server_declines_what_it_does_not_know_or_what_is_invalid() {
    claims!(
        "rfc7692/5/11",
        "rfc7692/7/1",
        "rfc7692/7.1.2.1/2",
        "rfc7692/7.1.2.2/2",
        "rfc6455/9/3",
        "rfc6455/9.1/5"
    );
    for parameters in [
        "server_window=10",
        "Server_no_context_takeover",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "server_max_window_bits=010",
        "server_max_window_bits=+9",
        "server_max_window_bits=ten",
        "server_max_window_bits=300",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=09",
        "client_max_window_bits=1e1",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits; client_max_window_bits=10",
    ] {
        let offer = format!("permessage-deflate; {parameters}");
        assert_eq!(answered(&offer, LARGEST), None, "{parameters}");
        let with_fallback = format!("{offer}, permessage-deflate");
        let fallback = Some("permessage-deflate".to_owned());
        assert_eq!(answered(&with_fallback, LARGEST), fallback, "{parameters}");
    }
}

#[test]
fn section_7_1_1_context_takeover_is_off_where_either_side_wants_that() {
    claims!("rfc7692/7.1.1.1/2", "rfc7692/7.1.1.1/3");
    let takeovers = |offer: &str, settings: &Settings| {
        let offers = parse(offer).unwrap();
        let parameters = accept(&offers, settings).unwrap();
        let [server, client] = [parameters.server(), parameters.client()];
        (server.context_takeover, client.context_takeover)
    };
    let neither = "permessage-deflate";
    let server = "permessage-deflate; server_no_context_takeover";
    let client = "permessage-deflate; client_no_context_takeover";
    assert_eq!(takeovers(neither, &LARGEST), (true, true));
    assert_eq!(takeovers(server, &LARGEST), (false, true));
    assert_eq!(takeovers(client, &LARGEST), (true, false));
    assert_eq!(takeovers(neither, &SMALLEST), (false, false));
    assert_eq!(takeovers(server, &SMALLEST), (false, false));
}

#[test]
fn section_7_1_2_1_the_servers_window_is_the_smaller_of_what_both_want() {
    claims!("rfc7692/5/6", "rfc7692/7.1.2.1/4");
    let bits = |offer: &str, settings: &Settings| {
        let offers = parse(offer).unwrap();
        accept(&offers, settings).unwrap().server_max_window_bits
    };
    for (offered, large, small) in [
        ("", None, Some(10)),
        ("; server_max_window_bits=15", Some(15), Some(10)),
        ("; server_max_window_bits=12", Some(12), Some(10)),
        ("; server_max_window_bits=8", Some(8), Some(8)),
        ("; server_max_window_bits=\"9\"", Some(9), Some(9)),
    ] {
        let offer = format!("permessage-deflate{offered}");
        assert_eq!(bits(&offer, &LARGEST), large, "{offer}");
        assert_eq!(bits(&offer, &SMALLEST), small, "{offer}");
    }
}

#[test]
fn section_7_1_2_2_the_clients_window_is_limited_only_where_the_client_knows_how() {
    claims!("rfc7692/7.1.2.2/5");
    let bits = |offer: &str, settings: &Settings| {
        let offers = parse(offer).unwrap();
        accept(&offers, settings).unwrap().client_max_window_bits
    };
    for (offered, large, small) in [
        ("", None, None),
        ("; client_max_window_bits", None, Some(10)),
        ("; client_max_window_bits=12", Some(12), Some(10)),
        ("; client_max_window_bits=8", Some(8), Some(8)),
    ] {
        let offer = format!("permessage-deflate{offered}");
        assert_eq!(bits(&offer, &LARGEST), large, "{offer}");
        assert_eq!(bits(&offer, &SMALLEST), small, "{offer}");
    }
}

#[test]
fn section_5_a_client_says_what_it_would_have() {
    claims!("rfc7692/5/1", "rfc7692/5/3", "rfc7692/7.1.2.1/1");
    assert_eq!(
        Offer::new(&LARGEST).to_string(),
        "permessage-deflate; client_max_window_bits"
    );
    assert_eq!(
        Offer::new(&SMALLEST).to_string(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=10; client_max_window_bits=10"
    );
}

#[test]
fn section_7_2_2_a_window_that_is_not_named_is_the_largest() {
    claims!("rfc7692/7.2.2/7", "rfc7692/7.2.2/9");
    let agreed = Parameters::default();
    assert_eq!((agreed.server(), agreed.client()), (ANY, ANY));
}

#[test]
fn section_7_a_client_takes_every_answer_that_grants_what_it_asked_for() {
    claims!("rfc7692/7.1.1.2/3");
    let offer = "permessage-deflate; client_max_window_bits";
    assert_eq!(
        checked(offer, "permessage-deflate"),
        Ok(Some(Parameters::default()))
    );
    let answer = "permessage-deflate; client_no_context_takeover; server_max_window_bits=8; \
                  client_max_window_bits=9; server_no_context_takeover";
    let expected = Parameters {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: Some(8),
        client_max_window_bits: Some(9),
    };
    assert_eq!(checked(offer, answer), Ok(Some(expected)));
    assert_eq!(check(Some(&Offer::default()), &[]), Ok(None));
    assert_eq!(check(None, &[]), Ok(None));
}

#[test]
fn section_7_a_client_fails_on_an_answer_with_a_parameter_that_cannot_be() {
    claims!("rfc7692/7/2", "rfc7692/7.1.2.1/3", "rfc7692/7.1.2.2/4");
    let offer = "permessage-deflate; client_max_window_bits";
    for parameters in [
        "server_window=10",
        "server_no_context_takeover=1",
        "client_no_context_takeover=0",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=015",
        "client_max_window_bits",
        "client_max_window_bits=7",
        "client_max_window_bits=x",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=10; server_max_window_bits=11",
        "client_max_window_bits=10; client_max_window_bits=10",
    ] {
        let answer = format!("permessage-deflate; {parameters}");
        assert!(checked(offer, &answer).is_err(), "{parameters}");
    }
}

#[test]
fn section_5_a_client_fails_on_an_answer_that_it_did_not_ask_for() {
    claims!("rfc7692/5/8", "rfc7692/5/10", "rfc7692/5/12");
    let answers = |text: &str| parse(text).unwrap();
    let offer = Offer::default();
    for answer in [
        "permessage-bzip2",
        "permessage-deflate, permessage-bzip2",
        "permessage-deflate, permessage-deflate",
    ] {
        assert!(check(Some(&offer), &answers(answer)).is_err(), "{answer}");
    }
    assert!(check(None, &answers("permessage-deflate")).is_err());
}

#[test]
fn section_7_1_3_a_client_offers_a_second_time_without_its_wishes_and_takes_that_answer() {
    claims!("rfc7692/5/2");
    let plain = "permessage-deflate; client_no_context_takeover; client_max_window_bits=10";
    assert_eq!(
        Offer::new(&SMALLEST).list(),
        format!("{}, {plain}", Offer::new(&SMALLEST))
    );
    assert_eq!(
        Offer::new(&LARGEST).list(),
        Offer::new(&LARGEST).to_string()
    );
    for (offered, answered, bits) in [
        ("server_no_context_takeover", "", None),
        ("server_max_window_bits=10", "", None),
        (
            "server_max_window_bits=10",
            "; server_max_window_bits=11",
            Some(11),
        ),
        (
            "server_max_window_bits=10",
            "; server_max_window_bits=15",
            Some(15),
        ),
    ] {
        let offer = format!("permessage-deflate; {offered}");
        let answer = format!("permessage-deflate{answered}");
        let agreed = checked(&offer, &answer).unwrap().unwrap();
        assert!(!agreed.server_no_context_takeover, "{offer} {answer}");
        assert_eq!(agreed.server_max_window_bits, bits, "{offer} {answer}");
    }
}

#[test]
fn section_7_1_2_2_a_client_fails_on_a_window_of_its_own_that_it_did_not_offer() {
    let answer = "permessage-deflate; client_max_window_bits=10";
    assert!(checked("permessage-deflate", answer).is_err());
}

#[test]
fn a_fault_tells_the_parameter() {
    let offer = "permessage-deflate; client_max_window_bits";
    for (answer, part) in [
        ("permessage-deflate; x", "\"x\""),
        (
            "permessage-deflate; server_max_window_bits=7",
            "server_max_window_bits",
        ),
        ("permessage-gzip", "permessage-gzip"),
    ] {
        let fault = checked(offer, answer).unwrap_err().to_string();
        assert!(fault.contains(part), "{fault}");
    }
}

fn any_direction() -> impl Strategy<Value = Direction> {
    (any::<bool>(), 8_u8..=15).prop_map(|(context_takeover, window_bits)| Direction {
        context_takeover,
        window_bits,
    })
}

fn any_settings() -> impl Strategy<Value = Settings> {
    (any_direction(), any_direction()).prop_map(|(server, client)| Settings { server, client })
}

fn within(agreed: Direction, settings: Direction) -> bool {
    agreed.window_bits <= settings.window_bits
        && (settings.context_takeover || !agreed.context_takeover)
}

proptest! {
    #[test]
    fn any_two_endpoints_agree_on_what_both_can_have(
        server in any_settings(),
        client in any_settings(),
    ) {
        let offer = Offer::new(&client);
        let offers = parse(&offer.to_string()).unwrap();
        let agreed = accept(&offers, &server).expect("every offer of ours can be taken");
        let answers = parse(&agreed.to_string()).unwrap();
        prop_assert_eq!(check(Some(&offer), &answers), Ok(Some(agreed)));
        for settings in [&server, &client] {
            prop_assert!(within(agreed.server(), settings.server), "{}", agreed);
            prop_assert!(within(agreed.client(), settings.client), "{}", agreed);
        }
    }
}

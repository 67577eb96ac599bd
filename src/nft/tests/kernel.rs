//! Tables in a real kernel: what is sent is what nft lists and what we read back, and any other change is noticed.

mod isolated;
mod sample;

use std::time::{Duration, Instant};

use isolated::{figure, isolated, nft, nft_json, run};
use sample::{address, table};
use terok_nft::image::{RuleImage, comment};
use terok_nft::{
    ChangeWatch, Element, ElementImage, Firewall, Image, NftError, Rule, SetKind, Term, differences, octets,
};

fn known(_: &str, element: &ElementImage) -> bool {
    element.comment().is_some_and(|name| name.ends_with(".test"))
}

fn applied() -> (Firewall, Image) {
    let image = Image::of(&table());
    let mut firewall = Firewall::open("terok_shield").unwrap();
    firewall.apply(&image).unwrap();
    let found = firewall.read().unwrap();
    assert_eq!(differences(&image, &found, known), Vec::<String>::new());
    firewall.accept_generation(found.generation);
    (firewall, image)
}

// holds: firewall-read-back
#[test]
fn table_reads_back_as_it_was_sent() {
    isolated("table_reads_back_as_it_was_sent", || {
        let (mut firewall, image) = applied();
        assert!(firewall.is_unchanged().unwrap());
        let found = firewall.read().unwrap();
        assert_eq!(found.tables[0].comment().as_deref(), Some("0123456789ab"));
        // Replacing the table by itself is one commit.
        firewall.apply(&image).unwrap();
        assert!(firewall.is_unchanged().unwrap());
        assert_eq!(differences(&image, &firewall.read().unwrap(), known), Vec::<String>::new());
        firewall.remove().unwrap();
        assert_eq!(differences(&image, &firewall.read().unwrap(), known), ["table `terok_shield` is missing"]);
    });
}

#[test]
fn nft_lists_the_table_without_raw_expressions() {
    isolated("nft_lists_the_table_without_raw_expressions", || {
        let (_firewall, image) = applied();
        let listed = nft_json();
        let objects = listed["nftables"].as_array().unwrap();
        let count = |kind: &str| objects.iter().filter(|object| object.get(kind).is_some()).count();
        let rules: usize = image.chains.iter().map(|chain| chain.rules.len()).sum();
        assert_eq!((count("rule"), count("chain"), count("set"), count("map"), count("quota")), (rules, 3, 3, 1, 2));
        let text = listed.to_string();
        assert!(!text.contains(r#""base":"#), "a payload that nft cannot name: {text}");
        for part in [
            r#""prefix":{"addr":"2001:db8:1::","len":48}"#,
            r#""comment":"good.test"#,
            r#""reject":{"type":"icmpx","expr":"admin-prohibited"}"#,
            r#""reject":{"type":"tcp reset"}"#,
            r#""redirect":{"port":9416}"#,
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    });
}

#[test]
fn nft_loads_the_rendered_text_as_the_same_rules() {
    isolated("nft_loads_the_rendered_text_as_the_same_rules", || {
        // nft 1.0 and 1.1 both read comments of tables.
        let text = terok_nft::render::table(&table());
        nft(&text);
        let mut firewall = Firewall::open("terok_shield").unwrap();
        let mut found = firewall.read().unwrap();
        let image = Image::of(&table());
        // nft marks ranges that end with the address space in its own way; as ranges they are the same.
        for (set, ours) in found.tables[0].sets.iter_mut().zip(&image.sets).filter(|(set, _)| set.is_interval()) {
            let ranges = |set: &terok_nft::image::SetImage| {
                set.ranges().iter().map(|(range, element)| (*range, element.object.clone())).collect::<Vec<_>>()
            };
            assert_eq!(ranges(set), ranges(ours), "{}", set.name);
            set.elements = ours.elements.clone();
        }
        assert_eq!(differences(&image, &found, known), Vec::<String>::new(), "{text}");
    });
}

// holds: firewall-foreign-change
#[test]
fn foreign_change_is_noticed_whatever_it_changes() {
    isolated("foreign_change_is_noticed_whatever_it_changes", || {
        let changes = [
            "insert rule inet terok_shield output accept",
            "add rule inet terok_shield output accept",
            "flush chain inet terok_shield input",
            "add chain inet terok_shield output { policy accept; }",
            "add element inet terok_shield private_v4 { 11.0.0.0/8 }",
            "delete element inet terok_shield private_v4 { 10.0.0.0/8 }",
            "add element inet terok_shield learn_v4 { 8.8.8.8 }",
            "add chain inet terok_shield other { type filter hook output priority -5; }",
            "add chain inet terok_shield other",
            "add set inet terok_shield other { type ipv4_addr; }",
            "add table ip other",
            "add table inet other; add chain inet other c { type filter hook input priority 0; }",
            "add table inet terok_shield { flags dormant; }",
            "add quota inet terok_shield other { over 5 bytes; }",
            "add counter inet terok_shield other",
            "delete table inet terok_shield",
        ];
        for change in changes {
            let (mut firewall, image) = applied();
            let watch = ChangeWatch::open().unwrap();
            assert!(!watch.drain());
            nft(change);
            assert!(watch.drain(), "no notification of `{change}`");
            assert!(!firewall.is_unchanged().unwrap(), "the generation after `{change}`");
            let found = differences(&image, &firewall.read().unwrap(), known);
            assert!(!found.is_empty(), "`{change}` is not found");
            run("nft", &["flush", "ruleset"]);
        }
    });
}

#[test]
fn foreign_rule_is_found_at_every_place_of_every_chain() {
    isolated("foreign_rule_is_found_at_every_place_of_every_chain", || {
        let (mut firewall, image) = applied();
        for chain in &image.chains {
            for removed in 0..chain.rules.len() {
                let handle = firewall.read().unwrap().tables[0].chain(&chain.name).unwrap().rules[removed].handle;
                nft(&format!("delete rule inet terok_shield {} handle {handle}", chain.name));
                assert!(!differences(&image, &firewall.read().unwrap(), known).is_empty(), "{removed}");
                firewall.apply(&image).unwrap();
            }
        }
    });
}

#[test]
fn table_stays_when_a_transaction_fails() {
    isolated("table_stays_when_a_transaction_fails", || {
        let (mut firewall, image) = applied();
        let mut broken = image.clone();
        broken.chains[1].rules[3].expressions[3] =
            terok_nft::expression::Expression::Lookup { set: "missing".into(), inverted: false };
        let error = firewall.apply(&broken).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOENT), "{error}");
        assert!(firewall.is_unchanged().unwrap());
        assert!(differences(&image, &firewall.read().unwrap(), known).is_empty());
    });
}

fn learned(name: &str, text: &str) -> ElementImage {
    let kind = SetKind::Timed { timeout: Duration::from_secs(60), size: 1 };
    ElementImage::of(&Element::named(address(text), name), kind).remove(0)
}

#[test]
fn element_is_renewed_and_removed_and_refused_when_the_set_is_full() {
    isolated("element_is_renewed_and_removed_and_refused_when_the_set_is_full", || {
        let mut small = table();
        small.sets[2].kind = SetKind::Timed { timeout: Duration::from_secs(60), size: 2 };
        let mut firewall = Firewall::open("terok_shield").unwrap();
        firewall.apply(&Image::of(&small)).unwrap();
        let old = firewall.elements("learn_v4").unwrap();
        assert_eq!(old[0].comment().as_deref(), Some("good.test"));
        std::thread::sleep(Duration::from_millis(30));
        firewall.put_elements("learn_v4", &old, &[learned("new.test", "198.51.100.7")]).unwrap();
        let renewed = firewall.elements("learn_v4").unwrap();
        assert_eq!(renewed[0].comment().as_deref(), Some("new.test"));
        assert!(renewed[0].expires > old[0].expires.map(|left| left - 30));
        // One that is not there any more is added all the same.
        firewall
            .put_elements("learn_v4", &[learned("", "198.51.100.99")], &[learned("b.test", "198.51.100.8")])
            .unwrap();
        let full = firewall.put_elements("learn_v4", &[], &[learned("c.test", "198.51.100.9")]).unwrap_err();
        assert_eq!(full.errno(), Some(libc::ENFILE));
        firewall.remove_elements("learn_v4", &[learned("", "198.51.100.7"), learned("", "198.51.100.77")]).unwrap();
        assert_eq!(firewall.elements("learn_v4").unwrap().len(), 1);
    });
}

#[test]
fn large_sets_are_applied_whole_without_rights_for_large_buffers() {
    isolated("large_sets_are_applied_whole_without_rights_for_large_buffers", || {
        let mut large = table();
        let names = (0..16_000u32).map(|n| {
            let at = std::net::Ipv4Addr::from(0xc633_0000 + n);
            Element::named(at.into(), &format!("host-{n}.some.quite.long.name.test"))
        });
        large.sets[2].elements = names.collect();
        let ranges = (0..2000u32).map(|n| {
            let at = std::net::Ipv4Addr::from(0x0b00_0000 + n * 512);
            Element::new(terok_nft::Range::prefix(at.into(), 25).unwrap())
        });
        large.sets[1].elements = ranges.collect();
        let image = Image::of(&large);
        let mut firewall = Firewall::open("terok_shield").unwrap();
        // What a host of the distribution's defaults takes.
        firewall.limit_transactions(212_992 * 2);
        let started = Instant::now();
        firewall.apply(&image).unwrap();
        figure(&format!("16 000 named addresses and 2 000 ranges in {:.1?}", started.elapsed()));
        let found = firewall.read().unwrap();
        assert_eq!(found.tables[0].set("learn_v4").unwrap().elements.len(), 16_000);
        assert_eq!(differences(&image, &found, known), Vec::<String>::new());
        let mut beyond = table();
        beyond.sets[1].elements = (0..200_000u32)
            .map(|n| Element::new(terok_nft::Range::single(std::net::Ipv4Addr::from(0x0b00_0000 + n * 2).into())))
            .collect();
        assert!(matches!(firewall.apply(&Image::of(&beyond)), Err(NftError::TooLarge { .. })));
        assert_eq!(differences(&image, &firewall.read().unwrap(), known), Vec::<String>::new());
    });
}

#[test]
fn rule_is_replaced_in_its_place() {
    isolated("rule_is_replaced_in_its_place", || {
        let (mut firewall, mut image) = applied();
        let hold = RuleImage::of(&Rule { name: "rest".into(), terms: vec![Term::Counter, Term::Drop] });
        firewall.replace_rule("output", "rest", &hold).unwrap();
        assert!(firewall.is_unchanged().unwrap());
        *image.chains[1].rules.last_mut().unwrap() = hold.clone();
        assert_eq!(differences(&image, &firewall.read().unwrap(), known), Vec::<String>::new());
        assert!(firewall.replace_rule("output", "none", &hold).is_err());
    });
}

#[test]
fn error_has_a_hint_when_rights_are_missing() {
    isolated("error_has_a_hint_when_rights_are_missing", || {
        use base::fault::Fault;
        let mut firewall = Firewall::open("terok_shield").unwrap();
        // Without rights over the namespace, as a process of the container is.
        let none = rustix::thread::CapabilitySets {
            effective: rustix::thread::CapabilitySet::empty(),
            permitted: rustix::thread::CapabilitySet::empty(),
            inheritable: rustix::thread::CapabilitySet::empty(),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                rustix::thread::set_capabilities(None, none).unwrap();
                let error = firewall.apply(&Image::of(&table())).unwrap_err();
                assert_eq!(error.errno(), Some(libc::EPERM));
                assert!(error.hint().unwrap().contains("CAP_NET_ADMIN"));
            });
        });
    });
}

#[test]
fn comment_of_an_element_is_read_back_when_it_has_the_greatest_length() {
    isolated("comment_of_an_element_is_read_back_when_it_has_the_greatest_length", || {
        let (mut firewall, _) = applied();
        let name = "a".repeat(terok_nft::image::MAX_COMMENT);
        let element = ElementImage {
            key: octets(address("198.51.100.200")),
            userdata: comment(&name),
            ..ElementImage::default()
        };
        firewall.put_elements("learn_v4", &[], std::slice::from_ref(&element)).unwrap();
        let found = firewall.elements("learn_v4").unwrap();
        assert!(found.iter().any(|element| element.comment().as_deref() == Some(&name)));
        assert!(run("nft", &["list", "ruleset"]).contains(&name));
    });
}

//! Tables that devices have, held against those that they need: one route less, one more, one that leads elsewhere.

use std::net::IpAddr;

use edgeward::catalog::{Element, RouteDirection};
use edgeward::net::{Prefix, PrefixSet};
use edgeward::path::{Exported, Table};
use edgeward::site::Scope;
use serde_json::{Value, json};

use super::Site;
use super::support::random::{self, Dice, policy_text};

/// Next hops for every kind of transit.
fn path(dice: &mut Dice) -> String {
    let kinds = ["ecr", "cen", "direct"];
    let kind = dice.pick(&kinds);
    format!(
        "path:\n  core-switch: {{next-hop: 10.255.0.2, next-hop-v6: \"fd00:ff::2\"}}\n  \
         vbr: {{id: vbr-1, cloud-ip: 10.255.0.2, idc-ip: 10.255.0.1}}\n  \
         transit: {{kind: {kind}, id: tr-1, vpc-association: assoc-1, vpc-attachment: attach-1, vbr-attachment: attach-2}}\n  \
         vpc: {{id: vpc-1}}\n"
    )
}

/// The table as the kernel exports it, without one route and with one more.
fn exported(table: &Table<'_>, without: Option<usize>, more: Option<(Prefix, &str)>) -> Exported {
    let rows = table.routes.iter().enumerate().filter(|(index, route)| Some(*index) != without && !route.row.standing);
    let row = |prefix: Prefix, hop: &str| json!({"dst": prefix.net().to_string(), "gateway": hop, "dev": "eth0"});
    let mut rows: Vec<Value> =
        rows.map(|(_, route)| row(route.prefix, route.next_hop.id.as_deref().unwrap_or("any"))).collect();
    rows.extend(more.map(|(prefix, hop)| row(prefix, hop)));
    // The default route of the device leads to the internet.
    rows.push(json!({"dst": "default", "gateway": "203.0.113.1", "dev": "eth9"}));
    let mut exported = Exported::default();
    exported.add(&Value::Array(rows).to_string()).unwrap();
    exported
}

/// A prefix inside of another one, or far from all of them.
fn inside(dice: &mut Dice, prefix: Prefix) -> Option<Prefix> {
    let net = prefix.net();
    let length = net.prefix_len() + 1 + dice.below(3) as u8;
    let address: IpAddr = net.network();
    (length <= net.max_prefix_len()).then(|| format!("{address}/{length}").parse().unwrap())
}

#[test]
fn a_route_less_and_a_route_more_are_named() {
    let mut dice = Dice::new(11);
    let (mut taken, mut added, mut astray) = (0, 0, 0);
    let none = PrefixSet::default();
    for _ in 0..60 {
        let text = policy_text(&mut dice).yaml() + &path(&mut dice);
        let site = Site::new(&text, |intent| random::resolution(intent, &mut dice));
        for scope in [Scope::Fine, Scope::Broad] {
            let plan = site.plan(scope);
            for table in &plan.tables {
                let whole = exported(table, None, None);
                let comparison = table.compare(&whole, &none);
                assert!(comparison.is_complete() && comparison.superfluous.is_empty(), "{comparison:#?}");
                let own = table.routes.iter().enumerate().filter(|(_, route)| !route.row.standing);
                for (index, route) in own {
                    let less = exported(table, Some(index), None);
                    let comparison = table.compare(&less, &none);
                    let missing: Vec<_> = comparison.missing.iter().map(|(route, set)| (route.prefix, set)).collect();
                    let gone = comparison.elsewhere.iter().map(|(route, set, _)| (route.prefix, set));
                    let named: Vec<_> = missing.into_iter().chain(gone).collect();
                    assert!(!named.is_empty() && !comparison.is_complete(), "{route:#?}");
                    assert!(named.iter().all(|(prefix, _)| *prefix == route.prefix), "{route:#?} {named:#?}");
                    taken += 1;

                    let Some(hop) = &route.next_hop.id else { continue };
                    let Some(part) = inside(&mut dice, route.prefix) else { continue };
                    let more = exported(table, None, Some((part, hop)));
                    let comparison = table.compare(&more, &none);
                    let superfluous: Vec<Prefix> = comparison.superfluous.iter().map(|route| route.prefix).collect();
                    assert!(comparison.is_complete() && superfluous == [part], "{comparison:#?}");
                    added += 1;

                    let other = exported(table, None, Some((part, "203.0.113.9")));
                    let comparison = table.compare(&other, &none);
                    let [(of, set, by)] = &*comparison.elsewhere else { panic!("{comparison:#?}") };
                    assert_eq!((of.prefix, &of.flows, by.prefix), (route.prefix, &route.flows, part));
                    assert_eq!(*set, PrefixSet::from_iter([part]));
                    astray += 1;
                }
                // Somewhere else, over the line.
                let up = table.routes.iter().find(|route| route.direction == RouteDirection::Up);
                if let Some(hop) = up.and_then(|route| route.next_hop.id.as_deref()) {
                    let far: Prefix = "198.18.0.0/15".parse().unwrap();
                    let more = exported(table, None, Some((far, hop)));
                    let found = table.compare(&more, &none);
                    assert!(found.is_complete());
                    assert_eq!(found.superfluous.iter().map(|route| route.prefix).collect::<Vec<_>>(), [far]);
                    // The checks of the line have a route that no flow needs.
                    assert!(table.compare(&more, &PrefixSet::from_iter([far])).superfluous.is_empty());
                }
            }
        }
    }
    assert!(taken > 500 && added > 200 && astray > 200, "{taken} {added} {astray}");
}

#[test]
fn a_wider_route_is_as_good_and_needs_no_others() {
    let site = Site::new(
        &(std::fs::read_to_string("policies/express-connect-flannel.yaml").unwrap()
            + "path: {core-switch: {next-hop: 10.255.0.2}}\n"),
        |_| edgeward::resolution::Resolution::default(),
    );
    let plan = site.plan(Scope::Fine);
    let table = plan.tables.iter().find(|table| table.element == Element::CoreSwitch).unwrap();
    let compare = |rows: Value| {
        let mut exported = Exported::default();
        exported.add(&rows.to_string()).unwrap();
        let found = table.compare(&exported, &PrefixSet::default());
        let prefixes = |list: &[&edgeward::path::ExportedRoute]| -> Vec<String> {
            list.iter().map(|route| route.prefix.to_string()).collect()
        };
        (found.missing.len(), found.elsewhere.len(), prefixes(&found.superfluous))
    };
    let wide = json!({"dst": "100.0.0.0/8", "gateway": "10.255.0.2"});
    let vpc = json!({"dst": "192.168.0.0/16", "gateway": "10.255.0.2"});
    assert_eq!(compare(json!([wide, vpc])), (0, 0, Vec::new()));
    // Of two hops that share packets, both must lead there.
    let shared = json!({"dst": "192.168.0.0/16", "nexthops": [{"gateway": "10.255.0.2"}, {"gateway": "10.1.1.1"}]});
    assert_eq!(compare(json!([wide, shared])), (0, 1, Vec::new()));
    let both = json!({"dst": "192.168.0.0/16", "nexthops": [{"gateway": "10.255.0.2"}, {"gateway": "10.255.0.2"}]});
    assert_eq!(compare(json!([wide, both])), (0, 0, Vec::new()));
    // A default route with the right next hop does, one with another does not count.
    assert_eq!(compare(json!([{"dst": "default", "gateway": "10.255.0.2"}])), (0, 0, Vec::new()));
    let needed = table.routes.iter().filter(|route| !route.row.standing).count();
    assert_eq!(compare(json!([{"dst": "default", "gateway": "10.1.1.1"}])), (needed, 0, Vec::new()));
    // The lowest metric wins; dead routes and those of other tables do not count; others discard.
    let other = json!({"dst": "192.168.0.0/16", "gateway": "10.1.1.1", "metric": 5});
    assert_eq!(compare(json!([wide, other, vpc])), (0, 0, Vec::new()));
    let dead = json!({"dst": "192.168.0.0/16", "gateway": "10.255.0.2", "flags": ["dead", "linkdown"]});
    assert_eq!(compare(json!([wide, dead])), (1, 0, Vec::new()));
    let elsewhere = json!({"dst": "192.168.0.0/16", "gateway": "10.255.0.2", "table": "100"});
    assert_eq!(compare(json!([wide, elsewhere])), (1, 0, Vec::new()));
    assert_eq!(compare(json!([wide, {"type": "blackhole", "dst": "192.168.0.0/16"}])), (0, 1, Vec::new()));
    // Wide and narrow: the wide one is not needed.
    let mut rows: Vec<Value> = table
        .routes
        .iter()
        .filter(|route| !route.row.standing)
        .map(|route| json!({"dst": route.prefix.to_string(), "gateway": "10.255.0.2"}))
        .collect();
    rows.push(wide);
    assert_eq!(compare(Value::Array(rows)), (0, 0, vec!["100.0.0.0/8".to_owned()]));
}

/// A table of a hundred thousand routes, half of them inside one that is needed.
#[test]
fn a_long_table_is_looked_up_in() {
    let text = std::fs::read_to_string("policies/express-connect-flannel.yaml").unwrap();
    let text = text + "path: {core-switch: {next-hop: 10.255.0.2}}\n";
    let site = Site::new(&text, |_| edgeward::resolution::Resolution::default());
    let plan = site.plan(Scope::Fine);
    let table = plan.tables.iter().find(|table| table.element == Element::CoreSwitch).unwrap();
    let hosts = |first: u8, hop: &'static str| {
        let pairs = (0..=255u8).flat_map(move |high| (0..=195u8).map(move |low| (high, low)));
        pairs.map(move |(high, low)| json!({"dst": format!("{first}.168.{high}.{low}"), "gateway": hop}))
    };
    let mut rows: Vec<Value> = hosts(192, "10.255.0.2").chain(hosts(193, "10.1.1.1")).collect();
    let own = table.routes.iter().filter(|route| !route.row.standing);
    rows.extend(own.map(|route| json!({"dst": route.prefix.net().to_string(), "gateway": "10.255.0.2"})));
    let mut exported = Exported::default();
    exported.add(&Value::Array(rows).to_string()).unwrap();
    let found = table.compare(&exported, &PrefixSet::default());
    assert!(found.is_complete());
    assert_eq!((exported.routes.len() > 100_000, found.superfluous.len()), (true, 256 * 196));
}

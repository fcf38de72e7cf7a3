//! The files themselves: fixtures, comments of hostile catalogs, what is refused.

use std::fs;
use std::path::PathBuf;

use super::{PATH, Site};

/// The formats, with what begins their comments and their commands.
const FORMATS: &[(&str, &str, &[&str])] = &[
    ("comware", "# ", &["ip route-static ", "ipv6 route-static ", "undo ip route-static ", "undo ipv6 route-static "]),
    ("frr", "! ", &["ip ", "ipv6 ", "router bgp ", " ", "no "]),
    ("ios", "! ", &["ip route ", "ipv6 route ", "no ip route ", "no ipv6 route "]),
    ("iproute2", "# ", &["route replace ", "route flush "]),
    ("junos", "# ", &["set routing-options ", "delete routing-options "]),
    ("nxos", "! ", &["ip route ", "ipv6 route ", "no ip route ", "no ipv6 route "]),
    ("vrp", "# ", &["ip route-static ", "ipv6 route-static ", "undo ip route-static ", "undo ipv6 route-static "]),
];

/// The formats that no device has parsed.
const FROM_MANUALS: [&str; 5] = ["comware", "ios", "junos", "nxos", "vrp"];

/// What the files were when they were last looked at; `UPDATE_GOLDEN=1` writes them.
#[test]
fn files_are_those_of_the_fixtures() {
    let site = Site::dual_stack("express-connect-terway-edge", PATH);
    site.replace("pods: [172.16.0.0/12]", "pods: [172.16.0.0/12, \"fd00:172::/56\"]");
    let mut files = vec![("terway.tf.json".to_owned(), site.print("routes", &["--format", "terraform"]))];
    for format in ["frr", "iproute2", "vrp"] {
        let (load, undo) = site.device(format);
        files.extend([(format!("terway.{format}"), load), (format!("terway.undo.{format}"), undo)]);
    }
    for (name, text) in files {
        let file = PathBuf::from("fixtures/devices").join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &text).unwrap();
        }
        let known = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(text, known, "{}: UPDATE_GOLDEN=1 writes it", file.display());
    }
}

/// The author of a catalog writes no command of a device.
#[test]
fn texts_of_a_catalog_stay_in_comments() {
    let site = Site::dual_stack("express-connect-terway-edge", PATH);
    let catalog = site.folder.path().join("catalog");
    fs::create_dir(&catalog).unwrap();
    for entry in fs::read_dir("policies/catalog").unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let text = match path.file_name().and_then(|name| name.to_str()) {
            Some("elements.yaml") => text
                .replace("section: IDC core switch", r#"section: "a; no ip route | route flush all # ! ? ` ${x} \\""#),
            Some("sources.yaml") => text.replace("title: ", "title: '?' # "),
            _ => text,
        };
        fs::write(catalog.join(path.file_name().unwrap()), text).unwrap();
    }
    for (format, comment, commands) in FORMATS {
        for undo in [&[][..], &["--undo"]] {
            let arguments = [&["--format", format, "--catalog", catalog.to_str().unwrap()], undo].concat();
            let text = site.print("routes", &arguments);
            assert!(undo.len() == 1 || text.contains("a; no ip route _"), "{text}");
            for line in text.lines().filter(|line| !line.is_empty()) {
                let rest = line.strip_prefix(comment);
                let is_command = commands.iter().any(|command| line.starts_with(command)) && !line.contains("all #");
                assert!(rest.is_some() || is_command, "{line}");
                assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
                assert!(rest.is_none_or(|rest| !rest.contains(['#', '!', '?', '\\', '`', '|', '$'])), "{line}");
            }
        }
    }
}

#[test]
fn what_has_no_configuration_is_refused() {
    let site = Site::new("express-connect-flannel", PATH);
    for (arguments, message) in [
        (&["--undo"][..], "`--undo` is for the formats of devices; choose one with `--format`: "),
        (&["--undo", "--format", "csv"], "`--undo` is for the formats of devices"),
        (&["--format", "frr", "--element", "vbr"], "`--format frr` is for the core switch, not for `vbr`"),
    ] {
        let output = site.run("routes", arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && output.stdout.is_empty() && said.contains(message), "{said}");
    }
}

#[test]
fn a_site_without_a_line_has_comments_only() {
    for (format, comment, _) in FORMATS {
        let text = Site::new("public-flannel", "").device(format).0;
        assert!(text.contains("There are no routes") && text.lines().all(|line| line.starts_with(comment)), "{text}");
    }
}

/// The lines that were written from manuals, each route and its end.
#[test]
fn what_no_device_has_parsed_says_so() {
    let site = Site::dual_stack("express-connect-flannel", PATH);
    for format in FROM_MANUALS {
        let (load, undo) = site.device(format);
        for text in [&load, &undo] {
            let head: String =
                text.lines().take(3).map(|line| line.get(2..).unwrap_or_default().to_owned() + " ").collect();
            assert!(
                head.contains("Written from the manuals of ") && head.contains("no device has parsed it"),
                "{text}"
            );
        }
        let routes = site.destinations().len();
        let [added, removed] = [&load, &undo].map(|text| {
            let is_command = |line: &&str| !line.starts_with(['#', '!']) && !line.is_empty();
            text.lines().filter(is_command).map(str::to_owned).collect::<Vec<_>>()
        });
        assert_eq!((added.len(), removed.len()), (routes, routes), "{format}");
        // A line that takes a route away is the line that adds it, as far as the device compares them.
        for (add, remove) in added.iter().zip(&removed) {
            let own = remove.trim_start_matches("no ").trim_start_matches("undo ").replace("delete ", "set ");
            assert!(
                add.starts_with(&own) && add.contains(" 10.255.0.2") | add.contains(" fd00:ff::2"),
                "{add} {remove}"
            );
        }
    }
    let line = |format: &str, prefix: &str| {
        let text = site.device(format).0;
        text.lines().find(|line| line.contains(prefix)).unwrap_or_default().to_owned()
    };
    // As the manuals have it.
    assert_eq!(
        line("vrp", "100.118.28.0"),
        "ip route-static 100.118.28.0 24 10.255.0.2 description edgeward-hangzhou-flannel"
    );
    assert_eq!(
        line("ios", "100.118.28.0"),
        "ip route 100.118.28.0 255.255.255.0 10.255.0.2 name edgeward-hangzhou-flannel"
    );
    assert_eq!(line("nxos", "100.118.28.0"), "ip route 100.118.28.0/24 10.255.0.2 name edgeward-hangzhou-flannel");
    assert_eq!(line("junos", "100.118.28.0"), "set routing-options static route 100.118.28.0/24 next-hop 10.255.0.2");
    assert_eq!(
        line("junos", "fd00:1::"),
        "set routing-options rib inet6.0 static route fd00:1::/48 next-hop fd00:ff::2"
    );
    assert_eq!(
        line("comware", "fd00:1::"),
        "ipv6 route-static fd00:1:: 48 fd00:ff::2 description edgeward-hangzhou-flannel"
    );
}

//! The user who runs the program. It is recorded, and grants nothing.

#![expect(clippy::disallowed_methods, reason = "this is a module that may")]

/// The user's name, and the user that called sudo: `root`, `root (alice by sudo)`.
pub fn name() -> String {
    let id = rustix::process::getuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(id)).then(|| (*fields[0]).to_owned())
    });
    let user = user.unwrap_or_else(|| format!("uid {id}"));
    match std::env::var("SUDO_USER") {
        Ok(before) if !before.is_empty() && before != user => format!("{user} ({before} by sudo)"),
        _ => user,
    }
}

//! The names of users.

#![expect(clippy::disallowed_methods, reason = "this module reads the list of users")]

/// The name of a user, or `uid 1001` where the list of users has none.
pub fn name(id: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(id)).then(|| (*fields[0]).to_owned())
    });
    user.unwrap_or_else(|| format!("uid {id}"))
}

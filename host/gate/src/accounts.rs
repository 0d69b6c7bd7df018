//! Users and groups as the system knows them, wherever it keeps them: who else is in a group.

use std::process::Command;

/// What the system calls `user`.
pub(super) fn user_name(user: u32) -> Option<String> {
    getent("passwd", Some(user))?.split(':').next().map(str::to_owned)
}

/// Somebody in `group` who is neither `user` nor root, in words: a member, or a user whose own group it is.
pub(super) fn other_member(group: u32, user: u32) -> Option<String> {
    match (getent("group", Some(group)), getent("passwd", None)) {
        (Some(line), Some(users)) => {
            let own = getent("passwd", Some(user)).unwrap_or_default();
            find_other(&line, &format!("{own}\n{users}"), group, user)
        }
        _ => Some("users that this system does not name".to_owned()),
    }
}

/// What the system knows of its groups and users, wherever it keeps them; none if it does not say.
fn getent(database: &str, key: Option<u32>) -> Option<String> {
    let output = Command::new("getent").arg(database).args(key.map(|key| key.to_string())).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `group` is a line `name:password:gid:member,member`, `users` are lines `name:password:uid:gid:…`.
fn find_other(line: &str, users: &str, group: u32, user: u32) -> Option<String> {
    let users: Vec<(&str, u32, u32)> = users
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            Some((fields.next()?, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect();
    let is_other = |id: u32| id != user && id != 0;
    let members = line.trim_end().rsplit(':').next().unwrap_or_default().split(',').filter(|name| !name.is_empty());
    let member = members.into_iter().find(|name| users.iter().find(|(other, ..)| other == name).is_none_or(|(_, id, _)| is_other(*id)));
    let owner = users.iter().find(|(_, id, own)| *own == group && is_other(*id)).map(|(name, ..)| *name);
    member.or(owner).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u32 = 1000;

    #[test]
    fn who_is_in_a_group() {
        let users = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n";
        let other = |line: &str, group| find_other(line, users, group, USER);
        assert_eq!(other("alice:x:1000:\n", 1000), None);
        assert_eq!(other("lab:x:50:root,alice\n", 50), None);
        assert_eq!(other("lab:x:50:alice,bob\n", 50), Some("bob".to_owned()));
        // Somebody who is gone, or whom another machine knows.
        assert_eq!(other("lab:x:50:carol\n", 50), Some("carol".to_owned()));
        assert_eq!(other("bob:x:1001:\n", 1001), Some("bob".to_owned()));
        // Of an unknown group nothing can be said.
        assert!(other_member(4_294_967_000, USER).is_some());
        assert_eq!(find_other("root:x:0:\n", users, 0, USER), None);
    }
}

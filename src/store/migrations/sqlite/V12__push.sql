-- What an App calls the attributes of its users, 0 to 9; what they are, by number; and tags of users: for pushes to all members.

CREATE TABLE attr_names (
    app_id              INTEGER NOT NULL,
    slot                INTEGER NOT NULL,
    name                TEXT    NOT NULL,
    PRIMARY KEY (app_id, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE user_attrs (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    slot                INTEGER NOT NULL,
    value               TEXT    NOT NULL,
    PRIMARY KEY (app_id, user_name, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE user_tags (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    tag                 TEXT    NOT NULL,
    PRIMARY KEY (app_id, user_name, tag)
) STRICT, WITHOUT ROWID;

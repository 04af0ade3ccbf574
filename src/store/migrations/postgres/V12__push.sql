-- What an App calls the attributes of its users, 0 to 9; what they are, by number; and tags of users: for pushes to all members.

CREATE TABLE attr_names (
    app_id              BIGINT  NOT NULL,
    slot                BIGINT  NOT NULL,
    name                TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (app_id, slot)
);

CREATE TABLE user_attrs (
    app_id              BIGINT  NOT NULL,
    user_name           TEXT COLLATE "C" NOT NULL,
    slot                BIGINT  NOT NULL,
    value               TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (app_id, user_name, slot)
);

CREATE TABLE user_tags (
    app_id              BIGINT  NOT NULL,
    user_name           TEXT COLLATE "C" NOT NULL,
    tag                 TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (app_id, user_name, tag)
);

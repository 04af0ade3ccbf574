-- When an account was deleted, milliseconds since the Unix epoch; 0: it exists. Who follows whom. And who has somebody: what ends
-- with a deleted account.

ALTER TABLE accounts ADD COLUMN deleted_ms BIGINT NOT NULL DEFAULT 0;

CREATE TABLE follows (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    followed_name       TEXT COLLATE "C"    NOT NULL,
    added_s             BIGINT              NOT NULL,
    PRIMARY KEY (app_id, user_name, followed_name)
);
-- Followers of a user, in pages. With the time, so that it is all that is read.
CREATE INDEX follows_by_followed ON follows (app_id, followed_name, user_name, added_s);

CREATE INDEX friends_by_friend ON friends (app_id, friend_name, user_name);
CREATE INDEX blocked_users_by_blocked ON blocked_users (app_id, blocked_name, user_name);
CREATE INDEX friend_applications_by_sender ON friend_applications (app_id, sender_name, receiver_name);

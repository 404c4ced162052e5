-- Who may see what: users, their roles in groups, their logins and tokens, and who did what.

create table trackport.user (
    id integer generated always as identity primary key,
    name text not null check (length(name) between 1 and 100 and name = btrim(name) and name !~ '[[:cntrl:]]'),
    password text check (password like '$argon2id$%'),
    password_changed_at timestamptz,
    is_admin boolean not null default false,
    disabled_at timestamptz,
    created_at timestamptz not null default now(),
    last_login_at timestamptz
);
create unique index user_name on trackport.user (lower(name));
comment on table trackport.user is 'People who may log in to the web, and programs that have a token. Not roles of the database.';
comment on column trackport.user.password is
    'Argon2id as a PHC string; NULL: cannot log in by password, only a token works. trackport_read cannot read it.';
comment on column trackport.user.is_admin is 'Sees and changes everything, whatever its roles say';
comment on column trackport.user.disabled_at is 'Since when it may do nothing';

create table trackport.member (
    user_id integer not null references trackport.user (id) on delete cascade,
    group_id integer not null references trackport.group (id) on delete cascade,
    role text not null check (role in ('viewer', 'manager', 'admin')),
    created_at timestamptz not null default now(),
    primary key (user_id, group_id)
);
create index member_group on trackport.member (group_id);
comment on table trackport.member is
    'What a user may do in a group: a viewer reads and exports, a manager changes assets and devices, an admin also decides who else may.';

create table trackport.web_session (
    digest bytea primary key check (length(digest) = 32),
    user_id integer not null references trackport.user (id) on delete cascade,
    created_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    expires_at timestamptz not null,
    address inet,
    agent text check (length(agent) <= 300)
);
create index web_session_user on trackport.web_session (user_id);
create index web_session_expires on trackport.web_session (expires_at);
comment on table trackport.web_session is 'Logins of browsers. The key is the SHA-256 of what the cookie holds. trackport_read cannot read it.';

create table trackport.api_token (
    id integer generated always as identity primary key,
    user_id integer not null references trackport.user (id) on delete cascade,
    name text not null check (length(name) between 1 and 100),
    digest bytea not null unique check (length(digest) = 32),
    scope text not null default 'read' check (scope in ('read', 'write')),
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz
);
create index api_token_user on trackport.api_token (user_id);
comment on table trackport.api_token is
    'What programs show instead of a password: it may what its user may, and only read where its scope says so.';
comment on column trackport.api_token.digest is 'SHA-256 of the token, which nobody has but its owner. trackport_read cannot read it.';

-- No foreign key: what somebody did stays when the user is removed.
create table trackport.audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    user_id integer,
    user_name text,
    address inet,
    action text not null,
    what jsonb not null default '{}'
);
create index audit_at on trackport.audit (at);
comment on table trackport.audit is 'Who logged in, accepted, changed and exported what. Kept for 400 days.';
comment on column trackport.audit.user_name is 'As it was called then; for a login that failed: what was typed';

-- As before, but for what only the server itself may read.
create or replace function trackport.grant_read() returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from pg_roles where rolname = 'trackport_read') then
        begin
            create role trackport_read nologin;
        exception
            when insufficient_privilege then
                return 'role trackport_read is missing and ' || current_user
                    || ' may not make it: CREATE ROLE trackport_read NOLOGIN as a superuser, then trackport migrate';
            -- Two databases of one cluster are migrated at once.
            when duplicate_object or unique_violation then
                null;
        end;
    end if;
    grant usage on schema trackport to trackport_read;
    grant select on all tables in schema trackport to trackport_read;
    perform trackport.keep_secrets();
    alter default privileges in schema trackport grant select on tables to trackport_read;
    return null;
exception
    when insufficient_privilege or undefined_object then
        return 'role trackport_read could not be given its rights: ' || sqlerrm;
end $$;

-- New tables are readable by default, so what is secret is taken back by name: here and after every grant.
create function trackport.keep_secrets() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from pg_roles where rolname = 'trackport_read') then
        return;
    end if;
    revoke all on trackport.user, trackport.web_session, trackport.api_token from trackport_read;
    grant select (id, name, password_changed_at, is_admin, disabled_at, created_at, last_login_at)
        on trackport.user to trackport_read;
    grant select (id, user_id, name, scope, created_at, last_used_at, expires_at, revoked_at)
        on trackport.api_token to trackport_read;
end $$;
select trackport.keep_secrets();

-- What trackport keeps. The runner has made schema trackport and table trackport.migration.

create sequence trackport.device_version;

create table trackport.device (
    id integer generated always as identity primary key,
    imei text not null unique check (imei ~ '^[0-9]{15}$'),
    name text,
    model text,
    firmware text,
    phone text,
    iccid text,
    note text,
    state text not null default 'accepted' check (state in ('accepted', 'refused', 'pending', 'removed')),
    attributes jsonb not null default '{}' check (jsonb_typeof(attributes) = 'object'),
    version bigint not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index device_version_idx on trackport.device (version);
comment on table trackport.device is 'One tracker. Removing is a state: ids are never used again.';
comment on column trackport.device.version is 'From one sequence, new on each change: whoever has seen n reads version > n.';

-- Changes of devices are committed in the order of their versions, so that a reader who has seen
-- version n never misses a smaller one that was committed later. Taken before any row is locked.
create function trackport.device_before_statement() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_advisory_xact_lock(8386109, 1);
    return null;
end $$;
create trigger device_before_statement before insert or update on trackport.device
    for each statement execute function trackport.device_before_statement();

create function trackport.device_before_row() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'UPDATE' and new.id <> old.id then
        raise exception 'the id of device % cannot be changed: its records carry it', old.imei;
    end if;
    new.version := nextval('trackport.device_version');
    new.updated_at := now();
    return new;
end $$;
create trigger device_before_insert before insert on trackport.device
    for each row execute function trackport.device_before_row();
create trigger device_before_update before update on trackport.device
    for each row when (old.* is distinct from new.*) execute function trackport.device_before_row();

create function trackport.device_notify() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_notify('trackport_device', new.imei);
    return null;
end $$;
create trigger device_notify_insert after insert on trackport.device
    for each row execute function trackport.device_notify();
create trigger device_notify_update after update on trackport.device
    for each row when (old.* is distinct from new.*) execute function trackport.device_notify();

create function trackport.device_no_delete() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'devices are not deleted, because their records carry the id'
        using hint = 'UPDATE trackport.device SET state = ''removed'' takes a device out of service.';
end $$;
create trigger device_no_delete before delete on trackport.device
    for each row execute function trackport.device_no_delete();

create table trackport.device_state (
    device_id integer primary key references trackport.device (id),
    last_login_at timestamptz,
    last_contact_at timestamptz,
    address inet,
    port integer,
    connected boolean not null default false,
    sends_before_ack_at timestamptz
) with (fillfactor = 70);
comment on column trackport.device_state.sends_before_ack_at is
    'When the device last sent a packet before the ack of the one before: it is set to "ACK type TCP/IP" and gives records up once the network took them. Remedy: set "ACK type AVL".';

-- No foreign key, no second index, no check: each costs every record, and the writer knows
-- what it inserts. Small rows are neither compressed nor moved out of line by PostgreSQL (that begins
-- at 2 kB), so io keeps the default storage.
create table trackport.record (
    device_id integer not null,
    time timestamptz not null,
    digest bigint not null,
    received_at timestamptz not null,
    longitude double precision not null,
    latitude double precision not null,
    altitude_m smallint not null,
    angle_deg integer not null,
    satellites smallint not null,
    speed_kmh integer not null,
    priority smallint not null,
    event_id integer not null,
    generation smallint,
    codec smallint not null,
    port integer not null,
    ignition boolean,
    movement boolean,
    odometer_m bigint,
    external_voltage_mv integer,
    battery_voltage_mv integer,
    battery_level smallint,
    signal smallint,
    temperature_1 real,
    temperature_2 real,
    temperature_3 real,
    temperature_4 real,
    humidity_1 real,
    humidity_2 real,
    humidity_3 real,
    humidity_4 real,
    io bytea not null
) partition by range (time);
create unique index record_key on trackport.record (device_id, time, digest);
create table trackport.record_default partition of trackport.record default;
comment on table trackport.record is 'What devices sent, once each. People read the view trackport.position.';
comment on column trackport.record.digest is
    'XXH3-64 of the record''s bytes from its time to the end of its IO; tells two records of one device and time apart.';
comment on column trackport.record.io is
    'The IO section as sent, from the total count of elements to its end; trackport.io_elements reads it.';
comment on column trackport.record.codec is '8, 142 (8 Extended) or 16';
comment on column trackport.record.generation is 'Generation type of codec 16; NULL otherwise';

create table trackport.latest (
    device_id integer primary key,
    time timestamptz not null,
    digest bigint not null,
    received_at timestamptz not null,
    longitude double precision not null,
    latitude double precision not null,
    altitude_m smallint not null,
    angle_deg integer not null,
    satellites smallint not null,
    speed_kmh integer not null,
    priority smallint not null,
    event_id integer not null,
    port integer not null,
    ignition boolean,
    movement boolean,
    odometer_m bigint,
    external_voltage_mv integer,
    battery_voltage_mv integer,
    battery_level smallint,
    signal smallint,
    temperature_1 real,
    temperature_2 real,
    temperature_3 real,
    temperature_4 real,
    humidity_1 real,
    humidity_2 real,
    humidity_3 real,
    humidity_4 real,
    fix_time timestamptz,
    fix_longitude double precision,
    fix_latitude double precision,
    fix_altitude_m smallint,
    fix_angle_deg integer,
    fix_satellites smallint,
    fix_speed_kmh integer
) with (fillfactor = 70);
comment on table trackport.latest is
    'Per device its newest record and, in the fix_ columns, its newest record with satellites. Written shortly after the records.';

create table trackport.login_attempt (
    imei text not null,
    port text not null,
    n_attempts bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    last_address inet,
    reason text not null,
    primary key (imei, port)
);
create index login_attempt_last_at on trackport.login_attempt (last_at);
comment on table trackport.login_attempt is 'Logins that were refused, one row per IMEI and port.';

create table trackport.quarantine (
    id bigint generated always as identity primary key,
    imei text,
    device_id integer,
    received_at timestamptz not null,
    last_at timestamptz not null,
    port integer,
    address inet,
    reason text not null,
    code text not null,
    bytes bytea not null,
    digest bigint not null,
    n_seen integer not null default 1,
    acked boolean not null default false,
    n_records integer,
    -- Bytes of a session that never said its IMEI are one entry too.
    constraint quarantine_key unique nulls not distinct (imei, digest)
);
create index quarantine_rotating on trackport.quarantine (last_at) where not acked;
comment on table trackport.quarantine is
    'Packets that cannot be read or stored as they are. Those not acked rotate; those acked are the only copy and stay.';

create table trackport.command (
    id bigint generated always as identity primary key,
    device_id integer not null references trackport.device (id),
    text text not null,
    state text not null default 'queued' check (state in ('queued', 'sent', 'answered', 'failed', 'expired')),
    kind text,
    created_at timestamptz not null default now(),
    created_by text not null default session_user,
    sent_at timestamptz,
    answered_at timestamptz,
    expires_at timestamptz,
    response text
);
create index command_open on trackport.command (device_id, id) where state in ('queued', 'sent');
comment on table trackport.command is 'Texts to devices and what they answered.';

create table trackport.port_event (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    thread text not null,
    generation bigint not null,
    event text not null,
    reason text
);
create index port_event_at on trackport.port_event (at);
comment on table trackport.port_event is 'When which thread started, died, went silent, was restarted or stopped, and why.';

create table trackport.avl_id (
    ordinal integer primary key,
    id integer not null,
    name text not null,
    bytes smallint,
    type text not null,
    min numeric,
    max numeric,
    multiplier numeric,
    unit text,
    description text,
    models text[] not null,
    everywhere boolean not null
);
create index avl_id_id on trackport.avl_id (id, ordinal);
comment on table trackport.avl_id is
    'What AVL ids mean, on which models. Loaded from the dictionary inside trackport; changes made here are overwritten by an upgrade.';
comment on column trackport.avl_id.everywhere is
    'The id means the same on every model, so that its first row names it for a device of unknown model.';

create table trackport.dictionary (
    name text primary key,
    digest text not null,
    n_rows integer not null,
    loaded_at timestamptz not null default now()
);
comment on table trackport.dictionary is 'Which edition of each embedded dictionary is loaded.';

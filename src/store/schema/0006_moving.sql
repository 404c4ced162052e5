-- Moving in, with the positions of another server; and leaving for good.

-- What another server had of a device. Apart from record: nothing of it was ever acknowledged by this server, and its rows have
-- neither the bytes nor the digest that tell two records apart.
create table trackport.imported_position (
    device_id integer not null,
    time timestamptz not null,
    source text not null,
    source_id bigint not null,
    received_at timestamptz,
    fix boolean,
    longitude double precision not null,
    latitude double precision not null,
    altitude_m smallint,
    angle_deg integer,
    satellites smallint,
    speed_kmh integer,
    priority smallint,
    event_id integer,
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
    protocol text,
    address text,
    attributes jsonb not null default '{}'
);
-- One index for both: a device's way through time, and that a second import doubles nothing.
create unique index imported_position_key on trackport.imported_position (device_id, time, source, source_id);
-- For questions about all devices in a span of time; a few kilobytes, however large the table is.
create index imported_position_time on trackport.imported_position using brin (time);
comment on table trackport.imported_position is
    'Positions that another server received (trackport import). People read the view trackport.position, which shows those before the device''s first own record.';
comment on column trackport.imported_position.source is 'What the other server is called here: traccar, or what --source said';
comment on column trackport.imported_position.source_id is 'Key of the row there';
comment on column trackport.imported_position.attributes is 'What has no column of its own, as it was there';

create table trackport.imported_device (
    device_id integer primary key references trackport.device (id)
);
comment on table trackport.imported_device is
    'Devices that have rows in imported_position, so that the others pay nothing for that table.';

create table trackport.import_progress (
    source text primary key,
    time_zone text not null,
    since timestamptz,
    devices text not null,
    last_id bigint not null,
    updated_at timestamptz not null default now()
);
comment on table trackport.import_progress is 'How far an import from another server''s database came; the next one goes on there.';

-- When the device's own records begin. A tracker without a right clock says 1970 or 2010: what was received more than 400 days
-- after its time begins nothing. In plpgsql, so that its plan over all partitions is made once in a session and only where a device
-- with imported rows is asked for; as its owner, so that whoever may read the view may read this of it.
create function trackport.own_from(device integer) returns timestamptz
language plpgsql stable parallel safe security definer set search_path = pg_catalog, pg_temp as $$
declare
    first timestamptz;
begin
    select r.time into first from trackport.record r
    where r.device_id = device and r.time > r.received_at - interval '400 days'
    order by r.time limit 1;
    return coalesce(first, 'infinity');
end $$;

create or replace view trackport.position as
select d.imei, d.name, d.model, r.device_id, r.time, r.received_at,
    r.satellites > 0 as fix,
    r.longitude, r.latitude, r.altitude_m, r.angle_deg, r.satellites, r.speed_kmh,
    r.priority, r.event_id, r.generation, r.codec, r.port,
    r.ignition, r.movement, r.odometer_m, r.external_voltage_mv, r.battery_voltage_mv,
    r.battery_level, r.signal,
    r.temperature_1, r.temperature_2, r.temperature_3, r.temperature_4,
    r.humidity_1, r.humidity_2, r.humidity_3, r.humidity_4, r.digest,
    null::text as source
from trackport.record r
join trackport.device d on d.id = r.device_id
union all
select d.imei, d.name, d.model, i.device_id, i.time, i.received_at,
    i.fix,
    i.longitude, i.latitude, i.altitude_m, i.angle_deg, i.satellites, i.speed_kmh,
    i.priority, i.event_id, null::smallint, null::smallint, null::integer,
    i.ignition, i.movement, i.odometer_m, i.external_voltage_mv, i.battery_voltage_mv,
    i.battery_level, i.signal,
    i.temperature_1, i.temperature_2, i.temperature_3, i.temperature_4,
    i.humidity_1, i.humidity_2, i.humidity_3, i.humidity_4, null::bigint,
    i.source
from trackport.imported_device m
join trackport.device d on d.id = m.device_id
-- OFFSET 0: asked once for each device, never for each row.
cross join lateral (select trackport.own_from(m.device_id) as time offset 0) own
join trackport.imported_position i on i.device_id = m.device_id and i.time < own.time;
comment on view trackport.position is
    'One row per record, and before a device''s first one the positions that were imported (source says from where). Without a fix (no satellites) the device repeats its last position or sends zeros.';

-- A device is deleted only by whoever erases all that is known of it, and says so in the same transaction.
create or replace function trackport.device_no_delete() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if current_setting('trackport.forget', true) is distinct from old.imei then
        raise exception 'devices are not deleted, because their records carry the id'
            using hint = 'UPDATE trackport.device SET state = ''removed'' takes a device out of service; `trackport device forget` erases it with all its records.';
    end if;
    return old;
end $$;

create function trackport.device_notify_forgotten() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_notify('trackport_forgotten', old.imei);
    return null;
end $$;
create trigger device_notify_forgotten after delete on trackport.device
    for each row execute function trackport.device_notify_forgotten();

-- What happened to a device (events), which of its sensors say an error instead of a value, and what vehicles tell of themselves; how
-- often a device is usually heard; and the work of filling typed columns anew when a device's model changes.

alter table trackport.record
    add column events integer,
    add column sensor_fault smallint,
    add column door boolean,
    add column engine_seconds bigint,
    add column vehicle_odometer_m bigint,
    add column fuel_l real,
    add column fuel_percent smallint;
comment on column trackport.record.events is
    'What the device reports in this record, one bit each; NULL: nothing. trackport.event_names(events) names them';
comment on column trackport.record.sensor_fault is
    'Sensors that say an error code instead of a value, one bit each; NULL: none. trackport.sensor_faults(sensor_fault) names them';
comment on column trackport.record.door is 'A door is open';
comment on column trackport.record.engine_seconds is 'How long the engine has run in all, as the vehicle says (CAN, OBD, tachograph)';
comment on column trackport.record.vehicle_odometer_m is
    'The vehicle''s own total mileage (CAN, OBD, tachograph), in metres; odometer_m is what the tracker has counted';
comment on column trackport.record.fuel_l is 'Fuel in the tank, litres';
comment on column trackport.record.fuel_percent is 'Fuel in the tank, percent';

alter table trackport.imported_position
    add column events integer,
    add column sensor_fault smallint,
    add column door boolean,
    add column engine_seconds bigint,
    add column vehicle_odometer_m bigint,
    add column fuel_l real,
    add column fuel_percent smallint;

alter table trackport.latest
    add column events integer,
    add column sensor_fault smallint,
    add column door boolean,
    add column engine_seconds bigint,
    add column vehicle_odometer_m bigint,
    add column fuel_l real,
    add column fuel_percent smallint,
    add column event_time timestamptz,
    add column event_mask integer,
    add column shaken_time timestamptz,
    add column contact_at timestamptz,
    add column contact_moving_s real,
    add column contact_parked_s real;
comment on column trackport.latest.event_time is 'Time of the newest record with events, whose events event_mask has';
comment on column trackport.latest.shaken_time is 'Time of the newest record with towing, crash, shock or fall';
comment on column trackport.latest.contact_at is 'When the device was last heard with something new, not counting what it had stored meanwhile';
comment on column trackport.latest.contact_moving_s is 'Seconds that usually pass between two contacts while the device moves; NULL: not known yet';
comment on column trackport.latest.contact_parked_s is 'The same while it does not move';

create function trackport.event_names(events integer) returns text[]
language sql immutable parallel safe strict set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(name order by bit), '{}')
    from unnest(array['towing', 'crash', 'crash_trace', 'shock', 'unplug', 'harsh_acceleration', 'harsh_braking',
        'harsh_cornering', 'jamming', 'battery_unplug', 'fall', 'overspeed', 'alarm_button']) with ordinality as n (name, bit)
    where events & (1 << (bit::integer - 1)) <> 0
$$;
comment on function trackport.event_names(integer) is 'The names of the bits of trackport.record.events';

create function trackport.sensor_faults(sensor_fault smallint) returns text[]
language sql immutable parallel safe strict set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(name order by bit), '{}')
    from unnest(array['temperature_1', 'temperature_2', 'temperature_3', 'temperature_4',
        'humidity_1', 'humidity_2', 'humidity_3', 'humidity_4']) with ordinality as n (name, bit)
    where sensor_fault & (1 << (bit::integer - 1)) <> 0
$$;
comment on function trackport.sensor_faults(smallint) is 'The names of the bits of trackport.record.sensor_fault';

create or replace view trackport.position as
select d.imei, d.name, d.model, r.device_id, r.time, r.received_at,
    r.satellites > 0 as fix,
    r.longitude, r.latitude, r.altitude_m, r.angle_deg, r.satellites, r.speed_kmh,
    r.priority, r.event_id, r.generation, r.codec, r.port,
    r.ignition, r.movement, r.odometer_m, r.external_voltage_mv, r.battery_voltage_mv,
    r.battery_level, r.signal,
    r.temperature_1, r.temperature_2, r.temperature_3, r.temperature_4,
    r.humidity_1, r.humidity_2, r.humidity_3, r.humidity_4, r.digest,
    null::text as source,
    r.events, r.sensor_fault, r.door, r.engine_seconds, r.vehicle_odometer_m, r.fuel_l, r.fuel_percent
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
    i.source,
    i.events, i.sensor_fault, i.door, i.engine_seconds, i.vehicle_odometer_m, i.fuel_l, i.fuel_percent
from trackport.imported_device m
join trackport.device d on d.id = m.device_id
-- OFFSET 0: asked once for each device, never for each row.
cross join lateral (select trackport.own_from(m.device_id) as time offset 0) own
join trackport.imported_position i on i.device_id = m.device_id and i.time < own.time;

-- What the ids in a device's records mean depends on its model. When that changes, the running server reads the IO sections again.
create sequence trackport.recompute_request;
create table trackport.recompute (
    device_id integer primary key references trackport.device (id) on delete cascade,
    model text,
    request bigint not null default nextval('trackport.recompute_request'),
    requested_at timestamptz not null default now(),
    started_at timestamptz,
    -- From the newest record back to this one all are done.
    done_time timestamptz,
    done_digest bigint,
    n_done bigint not null default 0,
    n_changed bigint not null default 0,
    n_total bigint,
    finished_at timestamptz
);
create index recompute_open on trackport.recompute (device_id) where finished_at is null;
comment on table trackport.recompute is
    'Devices whose typed columns are filled anew from the IO sections of their records, as model says; the running server does it, the newest records first.';
comment on column trackport.recompute.request is 'New with each change: work that was begun for an earlier one ends.';
comment on column trackport.recompute.done_time is 'The oldest record that is done';
comment on column trackport.recompute.n_changed is 'Records whose typed columns came out otherwise';
comment on column trackport.recompute.n_total is 'How many records there are, counted when the work began; NULL before that';

create function trackport.device_recompute() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    insert into trackport.recompute (device_id, model) values (new.id, new.model)
    on conflict (device_id) do update set model = excluded.model, request = excluded.request,
        requested_at = excluded.requested_at, started_at = null, done_time = null, done_digest = null,
        n_done = 0, n_changed = 0, n_total = null, finished_at = null;
    return null;
end $$;
create trigger device_recompute after update of model on trackport.device
    for each row when (new.model is distinct from old.model) execute function trackport.device_recompute();

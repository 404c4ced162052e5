-- What is tracked is not the tracker: assets, which device was fitted to which of them when, and the groups that they belong to.

create function trackport.is_time_zone(name text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_timezone_names z where z.name = $1)
$$;

create table trackport.group (
    id integer generated always as identity primary key,
    name text not null unique check (length(name) between 1 and 200),
    time_zone text not null default 'UTC',
    trip_by text not null default 'ignition' check (trip_by in ('ignition', 'movement', 'speed')),
    trip_speed_kmh integer not null default 5 check (trip_speed_kmh between 1 and 100),
    stop_min interval not null default '5 min' check (stop_min between '10 s' and '1 day'),
    trip_min_m integer not null default 300 check (trip_min_m between 0 and 100000),
    gap_max interval not null default '15 min' check (gap_max between '1 min' and '1 day'),
    believable_kmh integer not null default 250 check (believable_kmh between 30 and 1500),
    temperature_min real,
    temperature_max real,
    excursion_min interval not null default '10 min' check (excursion_min between '0 s' and '1 day'),
    note text,
    created_at timestamptz not null default now(),
    check (temperature_min < temperature_max)
);
comment on table trackport.group is
    'The unit of customers and of access: assets of one owner, with their time zone and the parameters of their reports.';
comment on column trackport.group.time_zone is 'The days of its reports are days of this zone, as pg_timezone_names has them';
comment on column trackport.group.trip_by is 'What begins and ends a trip: the ignition, the device''s own movement, or its speed';
comment on column trackport.group.trip_speed_kmh is 'Where trips go by speed: from here on it moves';
comment on column trackport.group.stop_min is 'Shorter stops do not end a trip';
comment on column trackport.group.trip_min_m is 'Shorter trips are none';
comment on column trackport.group.gap_max is 'Where so long nothing was recorded a trip ends';
comment on column trackport.group.believable_kmh is 'Between two fixes that would need a higher speed no distance is counted';
comment on column trackport.group.temperature_min is 'Degrees Celsius; an asset''s own limits go before it';
comment on column trackport.group.excursion_min is 'A temperature beyond its limits for a shorter time is no excursion';

-- A check constraint may not ask other tables.
create function trackport.group_check() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if not trackport.is_time_zone(new.time_zone) then
        raise exception 'time zone "%" is not known', new.time_zone
            using hint = 'Names look like Europe/Vienna; SELECT name FROM pg_timezone_names lists them.',
                errcode = 'invalid_parameter_value';
    end if;
    return new;
end $$;
create trigger group_check before insert or update of time_zone on trackport.group
    for each row execute function trackport.group_check();

-- Where everything is that nobody has put elsewhere.
insert into trackport.group (name) values ('fleet');

create function trackport.group_keep_first() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if old.id = 1 then
        raise exception 'group 1 ("%") stays: new devices come into it', old.name;
    end if;
    return old;
end $$;
create trigger group_keep_first before delete on trackport.group
    for each row execute function trackport.group_keep_first();

create table trackport.asset (
    id integer generated always as identity primary key,
    group_id integer not null default 1 references trackport.group (id),
    name text not null check (length(name) between 1 and 200),
    kind text not null default 'vehicle' check (kind in ('vehicle', 'trailer', 'machine', 'box', 'other')),
    temperature_min real,
    temperature_max real,
    note text,
    retired_at timestamptz,
    created_at timestamptz not null default now(),
    check (temperature_min < temperature_max)
);
create index asset_group on trackport.asset (group_id);
comment on table trackport.asset is 'A vehicle, machine or box that is tracked, whatever device does it. Reports are about assets.';
comment on column trackport.asset.temperature_min is 'Degrees Celsius; NULL: what its group says';
comment on column trackport.asset.retired_at is 'When it went out of use: shown no more, its past stays.';

-- At any time a device is fitted to one asset, and an asset has one device.
create table trackport.fitting (
    id integer generated always as identity primary key,
    device_id integer not null references trackport.device (id),
    asset_id integer not null references trackport.asset (id) on delete cascade,
    fitted_at timestamptz not null default '-infinity',
    removed_at timestamptz not null default 'infinity',
    created_at timestamptz not null default now(),
    check (fitted_at < removed_at),
    -- Ranges of one number instead of the number, so that no extension is needed.
    constraint fitting_device exclude using gist
        (int4range(device_id, device_id, '[]') with &&, tstzrange(fitted_at, removed_at) with &&),
    constraint fitting_asset exclude using gist
        (int4range(asset_id, asset_id, '[]') with &&, tstzrange(fitted_at, removed_at) with &&)
);
create index fitting_device_id on trackport.fitting (device_id, fitted_at);
create index fitting_asset_id on trackport.fitting (asset_id, fitted_at);
comment on table trackport.fitting is
    'Which device was in which asset from fitted_at (inclusive) until removed_at. Whoever sees the asset sees what the device recorded in that time, and nothing else of it.';

-- A device that is let in gets an asset of its own, so that nobody has to know of assets who does not need them.
create function trackport.device_gets_asset() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    asset integer;
begin
    if exists (select from trackport.fitting f where f.device_id = new.id) then
        return null;
    end if;
    insert into trackport.asset (name) values (coalesce(nullif(btrim(left(new.name, 200)), ''), new.imei)) returning id into asset;
    insert into trackport.fitting (device_id, asset_id) values (new.id, asset);
    return null;
end $$;
create trigger device_gets_asset_insert after insert on trackport.device
    for each row when (new.state = 'accepted') execute function trackport.device_gets_asset();
create trigger device_gets_asset_update after update of state on trackport.device
    for each row when (new.state = 'accepted' and old.state <> 'accepted') execute function trackport.device_gets_asset();

do $$
declare
    one record;
    asset integer;
begin
    for one in select d.id, d.imei, d.name from trackport.device d where d.state in ('accepted', 'removed') order by d.id loop
        insert into trackport.asset (name) values (coalesce(nullif(btrim(left(one.name, 200)), ''), one.imei)) returning id into asset;
        insert into trackport.fitting (device_id, asset_id) values (one.id, asset);
    end loop;
end $$;

-- A device's new name is also its asset's, as long as nobody has given the asset another.
create function trackport.device_names_asset() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    update trackport.asset a set name = coalesce(nullif(btrim(left(new.name, 200)), ''), new.imei)
    from trackport.fitting f
    where f.device_id = new.id and f.asset_id = a.id and f.removed_at = 'infinity'
        and a.name = coalesce(nullif(btrim(left(old.name, 200)), ''), old.imei);
    return null;
end $$;
create trigger device_names_asset after update of name on trackport.device
    for each row when (new.name is distinct from old.name) execute function trackport.device_names_asset();

create view trackport.fitted as
select f.asset_id, a.name as asset, a.kind, a.group_id, g.name as "group", f.device_id, d.imei, d.model,
    f.fitted_at, f.removed_at, a.retired_at
from trackport.fitting f
join trackport.asset a on a.id = f.asset_id
join trackport.group g on g.id = a.group_id
join trackport.device d on d.id = f.device_id;
comment on view trackport.fitted is 'Fittings with the names of both sides.';

-- Reports about assets over a span of time. Each is one function (assets, from_time, to_time): from_time belongs to the span, to_time does
-- not. What a device recorded counts for the asset to which it was fitted then. In what the functions call by name there is nothing of
-- the caller's: bodies that the planner takes in are bound when they are made, the others have a search_path.

-- Which assets.

create function trackport.asset_ids() returns integer[]
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(a.id order by a.id), '{}') from trackport.asset a
$$;
comment on function trackport.asset_ids() is 'All assets, for the functions report_…';

create function trackport.assets_of(group_name text) returns integer[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    one integer := (select g.id from trackport.group g where g.name = group_name);
begin
    if one is null then
        raise exception 'there is no group "%"', group_name
            using hint = 'SELECT name FROM trackport.group lists them.', errcode = 'no_data_found';
    end if;
    return (select coalesce(array_agg(a.id order by a.id), '{}') from trackport.asset a where a.group_id = one);
end $$;
comment on function trackport.assets_of(text) is 'The assets of a group, for the functions report_…';

create function trackport.asset_of(device_imei text) returns integer[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    found integer[] := (
        select array_agg(distinct f.asset_id)
        from trackport.device d join trackport.fitting f on f.device_id = d.id where d.imei = device_imei);
begin
    if found is null then
        raise exception 'device "%" was never fitted to an asset', device_imei
            using hint = 'SELECT imei, asset FROM trackport.fitted lists what is fitted to what.', errcode = 'no_data_found';
    end if;
    return found;
end $$;
comment on function trackport.asset_of(text) is 'The assets to which the device with this IMEI was ever fitted, for the functions report_…';

-- Assets whose groups have the same parameters together, so that these are constants where rows are many.
create function trackport.report_parameters(assets integer[])
returns table (assets integer[], time_zone text, trip_by text, trip_speed_kmh integer, stop_min interval, trip_min_m integer,
    gap_max interval, believable_kmh integer, excursion_min interval)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select array_agg(a.id order by a.id), g.time_zone, g.trip_by, g.trip_speed_kmh, g.stop_min, g.trip_min_m, g.gap_max,
        g.believable_kmh, g.excursion_min
    from trackport.asset a join trackport.group g on g.id = a.group_id
    where a.id = any ($1)
    group by g.time_zone, g.trip_by, g.trip_speed_kmh, g.stop_min, g.trip_min_m, g.gap_max, g.believable_kmh, g.excursion_min
$$;
comment on function trackport.report_parameters(integer[]) is 'The parameters of the reports, as the groups of these assets have them';

-- What the assets' devices recorded.

create function trackport.great_circle_m(longitude_1 double precision, latitude_1 double precision,
    longitude_2 double precision, latitude_2 double precision) returns double precision
language sql immutable parallel safe
-- The haversine, on a sphere of the earth's mean radius. The planner puts it in place only while it is not declared strict, and has
-- no call of least() to keep what rounding leaves of antipodes within the arc sine's domain; a call for each row would cost ten times as much.
return 12742017.6 * asin(sqrt(0.999999999999999 * (
    sin(radians(latitude_2 - latitude_1) / 2) * sin(radians(latitude_2 - latitude_1) / 2)
    + cos(radians(latitude_1)) * cos(radians(latitude_2))
        * sin(radians(longitude_2 - longitude_1) / 2) * sin(radians(longitude_2 - longitude_1) / 2))));
comment on function trackport.great_circle_m(double precision, double precision, double precision, double precision) is
    'Metres between two places on the earth';

create function trackport.asset_records(assets integer[], from_time timestamptz, to_time timestamptz)
returns table (asset_id integer, fitting_id integer, device_id integer, "time" timestamptz, digest bigint, fix boolean,
    longitude double precision, latitude double precision, altitude_m smallint, angle_deg integer, satellites smallint,
    speed_kmh integer, ignition boolean, movement boolean,
    odometer_m bigint, temperature_1 real, temperature_2 real, temperature_3 real, temperature_4 real, events integer,
    sensor_fault smallint, engine_seconds bigint, vehicle_odometer_m bigint, fuel_l real, fuel_percent smallint)
language sql stable parallel safe
begin atomic
    select f.asset_id, f.id, f.device_id, r.time, r.digest, r.satellites > 0,
        r.longitude, r.latitude, r.altitude_m, r.angle_deg, r.satellites, r.speed_kmh, r.ignition, r.movement,
        r.odometer_m, r.temperature_1, r.temperature_2, r.temperature_3, r.temperature_4, r.events,
        r.sensor_fault, r.engine_seconds, r.vehicle_odometer_m, r.fuel_l, r.fuel_percent
    from trackport.fitting f
    join trackport.record r on r.device_id = f.device_id and r.time >= f.fitted_at and r.time < f.removed_at
    where f.asset_id = any ($1) and r.time >= $2 and r.time < $3
    union all
    -- As in the view position.
    select f.asset_id, f.id, f.device_id, i.time, i.source_id, coalesce(i.fix, i.satellites > 0, false),
        i.longitude, i.latitude, i.altitude_m, i.angle_deg, i.satellites, i.speed_kmh, i.ignition, i.movement,
        i.odometer_m, i.temperature_1, i.temperature_2, i.temperature_3, i.temperature_4, i.events,
        i.sensor_fault, i.engine_seconds, i.vehicle_odometer_m, i.fuel_l, i.fuel_percent
    from trackport.fitting f
    join trackport.imported_device m on m.device_id = f.device_id
    cross join lateral (select trackport.own_from(m.device_id) as time offset 0) own
    join trackport.imported_position i on i.device_id = m.device_id and i.time < own.time
        and i.time >= f.fitted_at and i.time < f.removed_at
    where f.asset_id = any ($1) and i.time >= $2 and i.time < $3;
end;
comment on function trackport.asset_records(integer[], timestamptz, timestamptz) is
    'What was recorded of assets: the records of each device while it was fitted, and imported positions from before its first one';

-- One row per record, as the step that led to it from the one before: what held during it (what the record before said), and how far it
-- went. Times are seconds since 1970, states are bits: 1 driving as trip_by has it, 2 moving, 4 ignition on, 8 ignition sent, 16 fix.
-- moved_m is NULL where no distance is counted:
--   it goes from fix to fix: records without one (no satellites) may lie between, and one fix that lies far off its neighbours is passed over;
--   not over a gap, and not faster than is believable;
--   not while nothing moves: what a parked receiver drifts is no way. With the ignition on, 100 m are a way.
-- What was before is asked for as the greatest of what came so far, of numbers and arrays that begin with the time: lag() would cost more,
-- and knows nothing of the last fix.
create function trackport.report_steps(assets integer[], from_time timestamptz, to_time timestamptz,
    trip_by text, trip_speed_kmh integer, gap_max_s double precision, believable_kmh integer)
returns table (fitting_id integer, at_s double precision, state integer, before_s double precision, state_before integer,
    moved_m double precision, speed_kmh integer, fix double precision[], last_fix double precision[], engine_s double precision)
language sql stable parallel safe
begin atomic
    select w.fitting_id, w.at_s, w.state, w.before_s, w.state_before,
        case
            when w.m is null or (w.state | w.state_before) & 2 = 0 and w.m < 100 and w.m > 0 then null
            when w.m <= greatest(w.at_s - w.last_s, 1) * $7 / 3.6 then w.m
            else (
                -- Rare: from the fix before the last one, if that was the one far off.
                select case
                    when trackport.great_circle_m(b.longitude, b.latitude, w.last_longitude, w.last_latitude) > greatest(w.last_s - b.s, 1) * $7 / 3.6
                        and trackport.great_circle_m(b.longitude, b.latitude, w.longitude, w.latitude) <= greatest(w.at_s - b.s, 1) * $7 / 3.6
                        and w.at_s - b.s <= $6
                    then trackport.great_circle_m(b.longitude, b.latitude, w.longitude, w.latitude) end
                from (
                    select r.longitude, r.latitude, date_part('epoch', r.time) as s
                    from trackport.fitting f
                    join trackport.record r on r.device_id = f.device_id and r.time >= f.fitted_at
                    where f.id = w.fitting_id and r.satellites > 0 and r.time < to_timestamp(w.last_s) and r.time >= to_timestamp(w.last_s - $6)
                    order by r.time desc limit 1
                ) b)
        end,
        case when w.state >= 16 and w.speed_kmh <= $7 then w.speed_kmh end,
        case when w.state >= 16 then array[w.at_s, w.longitude, w.latitude] end, w.last_fix,
        case when w.engine_seconds - w.last_engine[2] between 0 and w.at_s - w.last_engine[1] + 60 then w.engine_seconds - w.last_engine[2] end
    from (
        select x.*,
            case
                when x.state < 16 or x.last_s is null or x.at_s - x.last_s > $6 or (x.state | x.state_before) & 6 = 0 then null
                when x.longitude = x.last_longitude and x.latitude = x.last_latitude then 0
                else trackport.great_circle_m(x.last_longitude, x.last_latitude, x.longitude, x.latitude)
            end as m
        from (
            select v.*, (v.before >> 5) / 1e6::double precision as before_s, (v.before & 31)::integer as state_before,
                v.last_fix[1] as last_s, v.last_fix[2] as last_longitude, v.last_fix[3] as last_latitude
            from (
                select u.*,
                    max(u.at) over before_it as before,
                    max(case when u.state >= 16 then array[u.at_s, u.longitude, u.latitude] end) over before_it as last_fix,
                    max(case when u.engine_seconds is not null then array[u.at_s, u.engine_seconds] end) over before_it as last_engine
                from (
                    select r.fitting_id, r.time, r.digest, r.longitude, r.latitude, r.speed_kmh, r.engine_seconds, s.state,
                        date_part('epoch', r.time) as at_s, (date_part('epoch', r.time) * 1e6::double precision)::bigint << 5 | s.state as at
                    from trackport.asset_records($1, $2, $3) r
                    cross join lateral (
                        select case $4
                            when 'speed' then r.fix and r.speed_kmh >= $5
                            else coalesce(r.movement, false) or r.fix and r.speed_kmh >= $5
                        end as moving) m
                    cross join lateral (
                        select case when case $4 when 'ignition' then coalesce(r.ignition, m.moving) else m.moving end then 1 else 0 end
                            + case when m.moving then 2 else 0 end
                            + case when r.ignition then 12 when not r.ignition then 8 else 0 end
                            + case when r.fix then 16 else 0 end as state
                    ) s
                    offset 0
                ) u
                window before_it as (partition by u.fitting_id order by u.time, u.digest rows between unbounded preceding and 1 preceding)
            ) v
            offset 0
        ) x
        offset 0
    ) w;
end;

-- Trips: driving for as long as it goes on, with stops shorter than stop_min, until nothing was recorded for longer than gap_max. Cut at
-- the ends of the span.
create function trackport.report_trip_spans(assets integer[], from_time timestamptz, to_time timestamptz,
    trip_by text, trip_speed_kmh integer, gap_max_s double precision, believable_kmh integer, stop_min_s double precision, trip_min_m integer)
returns table (fitting_id integer, start_s double precision, end_s double precision, distance_m double precision,
    moving_s double precision, idle_s double precision, top_speed_kmh integer, start_fix double precision[], end_fix double precision[],
    begins_before boolean, goes_on boolean)
language sql stable parallel safe
begin atomic
    select t.fitting_id, min(t.start_s), max(t.end_s), coalesce(sum(t.moved_m * t.share), 0),
        coalesce(sum(t.end_s - t.start_s) filter (where t.state_before & 2 <> 0), 0),
        coalesce(sum(t.end_s - t.start_s) filter (where t.state_before & 6 = 4), 0),
        max(t.speed_kmh), min(coalesce(t.last_fix, t.fix)), max(coalesce(t.fix, t.last_fix)),
        -- At the very moment it was driving already, or still is.
        bool_or(t.before_s < t.start_s or t.start_s = date_part('epoch', $2) and t.was_driving),
        bool_or(t.at_s > t.end_s or t.end_s = date_part('epoch', $3) and t.state & 1 <> 0)
    from (
        select c.*, count(*) filter (where c.driving and (c.last_end_s is null or c.start_s - c.last_end_s >= $8 or c.last_gap_s > c.last_end_s))
            over (partition by c.fitting_id order by c.at_s rows unbounded preceding) as trip
        from (
            select b.*,
                coalesce(lag(b.state_before & 1 <> 0 and b.at_s - b.before_s <= $6) over (partition by b.fitting_id order by b.at_s), false) as was_driving,
                max(case when b.driving then b.end_s end)
                    over (partition by b.fitting_id order by b.at_s rows between unbounded preceding and 1 preceding) as last_end_s,
                max(case when b.at_s - b.before_s > $6 then b.at_s end)
                    over (partition by b.fitting_id order by b.at_s rows unbounded preceding) as last_gap_s
            from (
                select a.*, a.state_before & 1 <> 0 and a.at_s - a.before_s <= $6 and a.start_s < a.end_s as driving,
                    (a.end_s - a.start_s) / nullif(a.at_s - a.before_s, 0) as share
                from (
                    select s.*, greatest(s.before_s, date_part('epoch', $2)) as start_s, least(s.at_s, date_part('epoch', $3)) as end_s
                    from trackport.report_steps($1, $2 - make_interval(secs => $6), $3 + make_interval(secs => $6), $4, $5, $6, $7) s
                ) a
            ) b
        ) c
    ) t
    where t.driving
    group by t.fitting_id, t.trip
    having coalesce(sum(t.moved_m * t.share), 0) >= $9;
end;

create function trackport.report_trips(assets integer[], from_time timestamptz, to_time timestamptz)
returns table (asset_id integer, asset text, device_id integer, start_time timestamptz, end_time timestamptz, duration_s bigint,
    distance_m bigint, moving_s bigint, idle_s bigint, average_kmh integer, top_speed_kmh integer,
    start_longitude double precision, start_latitude double precision, end_longitude double precision, end_latitude double precision,
    begins_before boolean, goes_on boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp set work_mem = '128MB' set jit = off set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
    p record;
begin
    for p in select * from trackport.report_parameters(assets) loop
        return query
        select f.asset_id, a.name, f.device_id, to_timestamp(t.start_s), to_timestamp(t.end_s), round(t.end_s - t.start_s)::bigint,
            round(t.distance_m)::bigint, round(t.moving_s)::bigint, round(t.idle_s)::bigint,
            round(t.distance_m / nullif(t.end_s - t.start_s, 0) * 3.6)::integer, t.top_speed_kmh,
            t.start_fix[2], t.start_fix[3], t.end_fix[2], t.end_fix[3], t.begins_before, t.goes_on
        from trackport.report_trip_spans(p.assets, from_time, to_time, p.trip_by, p.trip_speed_kmh, date_part('epoch', p.gap_max),
            p.believable_kmh, date_part('epoch', p.stop_min), p.trip_min_m) t
        join trackport.fitting f on f.id = t.fitting_id
        join trackport.asset a on a.id = f.asset_id;
    end loop;
end $$;
comment on function trackport.report_trips(integer[], timestamptz, timestamptz) is
    'Trips of assets, by the parameters of their groups; cut at the ends of the span, and begins_before and goes_on say so';

create function trackport.report_stops(assets integer[], from_time timestamptz, to_time timestamptz)
returns table (asset_id integer, asset text, device_id integer, start_time timestamptz, end_time timestamptz, duration_s bigint,
    idle_s bigint, no_data_s bigint, longitude double precision, latitude double precision, moved_m bigint,
    begins_before boolean, goes_on boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp set work_mem = '128MB' set jit = off set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
    p record;
    from_s double precision := date_part('epoch', from_time);
    to_s double precision := date_part('epoch', to_time);
begin
    for p in select *, date_part('epoch', q.gap_max) as gap_max_s, date_part('epoch', q.stop_min) as stop_min_s
        from trackport.report_parameters(assets) q
    loop
        return query
        with steps as materialized (
            select s.fitting_id, s.at_s, s.before_s, s.state_before, coalesce(s.fix, s.last_fix) as fix,
                greatest(s.before_s, from_s) as start_s, least(s.at_s, to_s) as end_s
            from trackport.report_steps(p.assets, from_time - p.gap_max, to_time + p.gap_max, p.trip_by, p.trip_speed_kmh, p.gap_max_s, p.believable_kmh) s
        ), trips as (
            select * from trackport.report_trip_spans(p.assets, from_time, to_time, p.trip_by, p.trip_speed_kmh, p.gap_max_s,
                p.believable_kmh, p.stop_min_s, p.trip_min_m)
        ), bounds as (
            -- Between two of these lies what may be a stop: where records begin, trips, where they end.
            select s.fitting_id, null::double precision as start_s, greatest(min(coalesce(s.before_s, s.at_s)), from_s) as end_s,
                null::double precision[] as start_fix, null::double precision[] as end_fix
            from steps s group by s.fitting_id
            union all
            select t.fitting_id, t.start_s, t.end_s, t.start_fix, t.end_fix from trips t
            union all
            select s.fitting_id, least(max(s.at_s), to_s), null, null, null from steps s group by s.fitting_id
        ), stops as (
            select b.fitting_id, b.end_s as start_s, lead(b.start_s) over ordered as end_s, b.end_fix as start_fix, lead(b.start_fix) over ordered as end_fix
            from bounds b
            window ordered as (partition by b.fitting_id order by b.start_s nulls first, b.end_s nulls last)
        ), found as (
            select o.*, i.*, coalesce(o.start_fix, i.first_fix) as here, coalesce(o.end_fix, i.last_fix) as there
            from stops o
            cross join lateral (
                select sum(least(s.end_s, o.end_s) - greatest(s.start_s, o.start_s))
                        filter (where s.state_before & 4 <> 0 and s.at_s - s.before_s <= p.gap_max_s) as idle_s,
                    sum(least(s.end_s, o.end_s) - greatest(s.start_s, o.start_s)) filter (where s.at_s - s.before_s > p.gap_max_s) as no_data_s,
                    min(s.fix) as first_fix, max(s.fix) as last_fix,
                    bool_or(s.before_s < from_s and o.start_s = from_s) as begins_before, bool_or(s.at_s > to_s and o.end_s = to_s) as goes_on
                from steps s
                where s.fitting_id = o.fitting_id and s.start_s < o.end_s and s.end_s > o.start_s
            ) i
            where o.end_s - o.start_s >= p.stop_min_s
        )
        select f.asset_id, a.name, f.device_id, to_timestamp(o.start_s), to_timestamp(o.end_s), round(o.end_s - o.start_s)::bigint,
            round(coalesce(o.idle_s, 0))::bigint, round(coalesce(o.no_data_s, 0))::bigint, o.here[2], o.here[3],
            round(trackport.great_circle_m(o.here[2], o.here[3], o.there[2], o.there[3]))::bigint,
            coalesce(o.begins_before, false), coalesce(o.goes_on, false)
        from found o
        join trackport.fitting f on f.id = o.fitting_id
        join trackport.asset a on a.id = f.asset_id
        -- It was elsewhere after a time of which nothing is known: no stop is known either.
        where not (coalesce(o.no_data_s, 0) > (o.end_s - o.start_s) / 2
            and coalesce(trackport.great_circle_m(o.here[2], o.here[3], o.there[2], o.there[3]), 0) >= greatest(p.trip_min_m, 1));
    end loop;
end $$;
comment on function trackport.report_stops(integer[], timestamptz, timestamptz) is
    'Stops of assets between their trips; no_data_s is the part of which nothing was recorded, moved_m how far off it was found at the end';

-- Days of a zone. Apart from report_daily so that two processes share a large fleet.
create function trackport.report_days(assets integer[], from_time timestamptz, to_time timestamptz, time_zone text,
    trip_by text, trip_speed_kmh integer, gap_max interval, believable_kmh integer)
returns table (asset_id integer, device_id integer, day date, distance_m double precision, engine_s double precision, ignition_s double precision,
    moving_s double precision, idle_s double precision, parked_s double precision, top_speed_kmh integer, n_records bigint,
    first_s double precision, last_s double precision, length_s double precision)
language plpgsql stable parallel safe cost 100000000 rows 20000
set search_path = pg_catalog, pg_temp set work_mem = '256MB' set jit = off set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
    gap_max_s double precision := date_part('epoch', gap_max);
begin
    return query
    with days as (
        select d.day::date as day, greatest(date_part('epoch', d.day at time zone time_zone), date_part('epoch', from_time)) as start_s,
            least(date_part('epoch', (d.day + interval '1 day') at time zone time_zone), date_part('epoch', to_time)) as end_s
        from generate_series(date_trunc('day', from_time at time zone time_zone),
            (to_time - interval '1 microsecond') at time zone time_zone, interval '1 day') as d (day)
    ), pieces as (
        select s.fitting_id, d.day, sum(s.moved_m * h.share) as distance_m,
            sum(s.engine_s) filter (where h.is_here) as engine_s,
            sum(h.s) filter (where s.state_before & 4 <> 0) as ignition_s,
            sum(h.s) filter (where s.state_before & 2 <> 0) as moving_s,
            sum(h.s) filter (where s.state_before & 6 = 4) as idle_s,
            sum(h.s) filter (where s.state_before & 6 = 0) as parked_s,
            max(s.speed_kmh) filter (where h.is_here) as top_speed_kmh,
            count(*) filter (where h.is_here) as n_records,
            min(s.at_s) filter (where h.is_here) as first_s,
            max(s.at_s) filter (where h.is_here) as last_s,
            bit_or(s.state) & 8 <> 0 as ignition_sent
        from trackport.report_steps(assets, from_time - gap_max, to_time + gap_max, trip_by, trip_speed_kmh, gap_max_s, believable_kmh) s
        join days d on s.at_s >= d.start_s and (s.before_s < d.end_s or s.at_s < d.end_s)
        cross join lateral (
            select case when s.at_s - s.before_s <= gap_max_s then least(s.at_s, d.end_s) - greatest(s.before_s, d.start_s) end as s,
                case when s.before_s >= d.start_s and s.at_s <= d.end_s then 1
                    else (least(s.at_s, d.end_s) - greatest(s.before_s, d.start_s)) / nullif(s.at_s - s.before_s, 0) end as share,
                s.at_s >= d.start_s and s.at_s < d.end_s as is_here
            offset 0) h
        group by s.fitting_id, d.day
    )
    select f.asset_id, (array_agg(f.device_id order by i.last_s desc nulls last))[1], i.day, coalesce(sum(i.distance_m), 0),
        sum(i.engine_s), case when bool_or(i.ignition_sent) then coalesce(sum(i.ignition_s), 0) end,
        coalesce(sum(i.moving_s), 0), coalesce(sum(i.idle_s), 0), coalesce(sum(i.parked_s), 0), max(i.top_speed_kmh), sum(i.n_records)::bigint,
        min(i.first_s), max(i.last_s), min(d.end_s - d.start_s)
    from pieces i
    join days d on d.day = i.day
    join trackport.fitting f on f.id = i.fitting_id
    group by f.asset_id, i.day;
end $$;

create function trackport.report_daily(assets integer[], from_time timestamptz, to_time timestamptz)
returns table (asset_id integer, asset text, device_id integer, day date, distance_m bigint, engine_s bigint, engine_by text,
    moving_s bigint, idle_s bigint, parked_s bigint, no_data_s bigint, top_speed_kmh integer, n_records bigint,
    first_time timestamptz, last_time timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    p record;
    n integer;
    until timestamptz := least(to_time, greatest(now(), from_time));
begin
    for p in select * from trackport.report_parameters(assets) loop
        n := case when cardinality(p.assets) > 1000 then cardinality(p.assets) / 2 else cardinality(p.assets) end;
        return query
        select d.asset_id, a.name, d.device_id, d.day, round(d.distance_m)::bigint, round(coalesce(d.engine_s, d.ignition_s))::bigint,
            case when d.engine_s is not null then 'vehicle' when d.ignition_s is not null then 'ignition' end,
            round(d.moving_s)::bigint, round(d.idle_s)::bigint, round(d.parked_s)::bigint,
            round(greatest(d.length_s - d.moving_s - d.idle_s - d.parked_s, 0))::bigint, d.top_speed_kmh, d.n_records,
            to_timestamp(d.first_s), to_timestamp(d.last_s)
        from (
            select * from trackport.report_days(p.assets[1:n], from_time, until, p.time_zone, p.trip_by, p.trip_speed_kmh, p.gap_max, p.believable_kmh)
            union all
            select * from trackport.report_days(p.assets[n + 1:], from_time, until, p.time_zone, p.trip_by, p.trip_speed_kmh, p.gap_max, p.believable_kmh)
        ) d
        join trackport.asset a on a.id = d.asset_id
        where d.n_records > 0 or d.moving_s + d.idle_s + d.parked_s > 0;
    end loop;
end $$;
comment on function trackport.report_daily(integer[], timestamptz, timestamptz) is
    'One row per asset and day of its group''s time zone on which something is known of it; no_data_s is the part of the day of which nothing is';

-- A temperature beyond its limits until a record says that it is within them. What lies between is counted to it, also while the sensor
-- says an error or nothing was recorded, and how long that was is told.
create function trackport.report_temperature(assets integer[], from_time timestamptz, to_time timestamptz)
returns table (asset_id integer, asset text, device_id integer, sensor integer, start_time timestamptz, end_time timestamptz, duration_s bigint,
    beyond text, limit_c real, max_c real, min_c real, no_data_s bigint, fault_s bigint, n_records bigint, begins_before boolean, goes_on boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp set work_mem = '128MB' set jit = off set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
    p record;
begin
    for p in
        select q.*, (select array_agg(a.id)
            from trackport.asset a join trackport.group g on g.id = a.group_id
            where a.id = any (q.assets)
                and num_nonnulls(a.temperature_min, a.temperature_max, g.temperature_min, g.temperature_max) > 0) as limited
        from trackport.report_parameters(assets) q
    loop
        continue when p.limited is null;
        return query
        with samples as (
            select r.fitting_id, r.time, r.digest, s.sensor, s.value, r.sensor_fault & (1 << s.sensor - 1) <> 0 as fault,
                lead(r.time) over (partition by r.fitting_id, s.sensor order by r.time, r.digest) as next_time,
                count(s.value) over (partition by r.fitting_id, s.sensor) as n_values,
                case when s.value < l.lowest then -1 when s.value > l.highest then 1 when s.value is not null then 0 end as side
            from trackport.asset_records(p.limited, from_time - p.gap_max, to_time + p.gap_max) r
            join (
                select a.id, coalesce(a.temperature_min, g.temperature_min) as lowest, coalesce(a.temperature_max, g.temperature_max) as highest
                from trackport.asset a join trackport.group g on g.id = a.group_id
            ) l on l.id = r.asset_id
            cross join lateral (values (1, r.temperature_1), (2, r.temperature_2), (3, r.temperature_3), (4, r.temperature_4)) s (sensor, value)
        ), sided as (
            -- The side where the last value was: an array, because a maximum of arrays goes by the first element.
            select s.*, (max(case when s.side is not null then array[date_part('epoch', s.time), s.side] end)
                    over (partition by s.fitting_id, s.sensor order by s.time, s.digest rows between unbounded preceding and 1 preceding))[2] as side_before
            from samples s
            where s.n_values > 0
        ), runs as (
            select s.*, count(*) filter (where s.side is not null and s.side is distinct from s.side_before)
                over (partition by s.fitting_id, s.sensor order by s.time, s.digest rows unbounded preceding) as run
            from sided s
        ), spans as (
            select r.fitting_id, r.sensor, max(r.side) as side, min(r.time) as first_time,
                lead(min(r.time)) over (partition by r.fitting_id, r.sensor order by r.run) as next_run, max(r.time) as last_time,
                max(r.value) filter (where k.held) as max_c, min(r.value) filter (where k.held) as min_c,
                sum(k.s) filter (where k.s > 0 and (k.gap or r.value is null and r.fault is not true)) as no_data_s,
                sum(k.s) filter (where k.s > 0 and not k.gap and r.value is null and r.fault) as fault_s,
                count(r.value) filter (where r.time >= from_time and r.time < to_time) as n_records
            from runs r
            cross join lateral (
                select date_part('epoch', least(r.next_time, to_time) - greatest(r.time, from_time)) as s,
                    coalesce(r.next_time - r.time > p.gap_max, false) as gap,
                    r.time < to_time and (r.time >= from_time or r.next_time > from_time) as held) k
            where r.run > 0
            group by r.fitting_id, r.sensor, r.run
        )
        select f.asset_id, a.name, f.device_id, s.sensor, e.start_time, e.end_time, round(date_part('epoch', e.end_time - e.start_time))::bigint,
            case s.side when 1 then 'above' else 'below' end,
            case s.side when 1 then coalesce(a.temperature_max, g.temperature_max) else coalesce(a.temperature_min, g.temperature_min) end,
            s.max_c, s.min_c, round(coalesce(s.no_data_s, 0))::bigint, round(coalesce(s.fault_s, 0))::bigint, s.n_records,
            s.first_time < from_time, coalesce(s.next_run > to_time, true)
        from spans s
        join trackport.fitting f on f.id = s.fitting_id
        join trackport.asset a on a.id = f.asset_id
        join trackport.group g on g.id = a.group_id
        cross join lateral (
            select greatest(s.first_time, from_time) as start_time, least(coalesce(s.next_run, s.last_time), to_time) as end_time) e
        where s.side <> 0 and e.end_time > e.start_time and e.end_time - e.start_time >= p.excursion_min;
    end loop;
end $$;
comment on function trackport.report_temperature(integer[], timestamptz, timestamptz) is
    'Temperatures beyond the limits of the asset (else its group) for at least excursion_min; no_data_s and fault_s are parts of duration_s';

-- crash_trace is left out: it comes with each record around a crash, which is there by itself.
create function trackport.report_events(assets integer[], from_time timestamptz, to_time timestamptz)
returns table (asset_id integer, asset text, device_id integer, "time" timestamptz, event text, longitude double precision,
    latitude double precision, speed_kmh integer)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
begin
    return query
    select r.asset_id, a.name, r.device_id, r.time, e.name, case when r.fix then r.longitude end, case when r.fix then r.latitude end,
        case when r.fix then r.speed_kmh end
    from trackport.asset_records(assets, from_time, to_time) r
    join trackport.asset a on a.id = r.asset_id
    cross join lateral unnest(trackport.event_names(r.events)) e (name)
    where r.events is not null and e.name <> 'crash_trace';
end $$;
comment on function trackport.report_events(integer[], timestamptz, timestamptz) is
    'Shocks, crashes, towing, cut power, harsh driving and what else devices report; without a place where there was no fix';

-- Nothing recorded for longer than three times what is usual for the device in that state (moving or not; the median of the span, from
-- five on), and longer than gap_max.
create function trackport.report_offline(assets integer[], from_time timestamptz, to_time timestamptz)
returns table (asset_id integer, asset text, device_id integer, start_time timestamptz, end_time timestamptz, duration_s bigint,
    usual_s bigint, was_moving boolean, longitude double precision, latitude double precision, begins_before boolean, goes_on boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp set work_mem = '128MB' set jit = off set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
    p record;
    until timestamptz := least(to_time, now());
begin
    for p in select * from trackport.report_parameters(assets) loop
        return query
        with records as materialized (
            select r.fitting_id, r.time, coalesce(r.movement, false) or r.fix and r.speed_kmh >= p.trip_speed_kmh as moving,
                case when r.fix then array[date_part('epoch', r.time), r.longitude, r.latitude] end as fix
            from trackport.asset_records(p.assets, from_time, until) r
        ), fitted as (
            select f.id as fitting_id, greatest(from_time, f.fitted_at) as start_time, least(until, f.removed_at) as end_time,
                b.time, b.moving, b.fix
            from trackport.fitting f
            join trackport.asset a on a.id = f.asset_id
            left join lateral (
                select r.time, coalesce(r.movement, false) or r.satellites > 0 and r.speed_kmh >= p.trip_speed_kmh as moving,
                    case when r.satellites > 0 then array[date_part('epoch', r.time), r.longitude, r.latitude] end as fix
                from trackport.record r
                where r.device_id = f.device_id and r.time < from_time and r.time >= f.fitted_at and r.time > r.received_at - interval '400 days'
                order by r.time desc limit 1
            ) b on true
            where f.asset_id = any (p.assets) and f.fitted_at < until and f.removed_at > from_time
        ), marks as (
            select r.fitting_id, r.time, r.moving, r.fix from records r
            union all
            select f.fitting_id, f.time, f.moving, f.fix from fitted f where f.time is not null
            union all
            select f.fitting_id, f.end_time, null, null from fitted f
        ), steps as (
            select m.fitting_id, m.time, m.moving, lead(m.time) over ordered as next_time, lead(m.moving) over ordered is null as is_last,
                max(m.fix) over ordered as fix
            from marks m
            -- Where the fitting or the span ends comes behind the records of that moment.
            window ordered as (partition by m.fitting_id order by m.time, m.moving nulls last rows between unbounded preceding and current row)
        ), usual as (
            select s.fitting_id, s.moving, percentile_disc(0.5) within group (order by s.next_time - s.time) as length
            from steps s where not s.is_last
            group by s.fitting_id, s.moving having count(*) >= 5
        )
        select f.asset_id, a.name, f.device_id, e.start_time, s.next_time, round(date_part('epoch', s.next_time - e.start_time))::bigint,
            round(date_part('epoch', u.length))::bigint, s.moving, s.fix[2], s.fix[3], s.time < from_time, s.is_last and s.next_time = until
        from steps s
        left join usual u on u.fitting_id = s.fitting_id and u.moving = s.moving
        join trackport.fitting f on f.id = s.fitting_id
        join trackport.asset a on a.id = f.asset_id
        cross join lateral (select greatest(s.time, from_time) as start_time) e
        where s.next_time - s.time > greatest(p.gap_max, 3 * u.length) and s.moving is not null and s.next_time > e.start_time;
    end loop;
end $$;
comment on function trackport.report_offline(integer[], timestamptz, timestamptz) is
    'Times of which nothing was recorded, longer than gap_max of the group and than three times what is usual (usual_s)';

create function trackport.report_odometer(assets integer[], from_time timestamptz, to_time timestamptz)
returns table (asset_id integer, asset text, device_id integer, first_time timestamptz, last_time timestamptz,
    distance_m bigint, distance_by text, odometer_start_m bigint, odometer_end_m bigint,
    vehicle_odometer_start_m bigint, vehicle_odometer_end_m bigint,
    engine_start_s bigint, engine_end_s bigint, engine_s bigint,
    fuel_start_l real, fuel_end_l real, fuel_start_percent smallint, fuel_end_percent smallint)
language plpgsql stable set search_path = pg_catalog, pg_temp set work_mem = '128MB' set jit = off set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
begin
    return query
    with ends as (
        -- The least and the greatest array are the oldest and the newest value.
        select r.fitting_id, min(r.time) as first_time, max(r.time) as last_time,
            (min(o.odometer))[2]::bigint as o1, (max(o.odometer))[2]::bigint as o2,
            (min(o.vehicle))[2]::bigint as v1, (max(o.vehicle))[2]::bigint as v2,
            (min(o.engine))[2]::bigint as e1, (max(o.engine))[2]::bigint as e2,
            (min(o.fuel))[2]::real as f1, (max(o.fuel))[2]::real as f2,
            (min(o.percent))[2]::smallint as p1, (max(o.percent))[2]::smallint as p2
        from trackport.asset_records(assets, from_time, to_time) r
        cross join lateral (select date_part('epoch', r.time) as s) t
        cross join lateral (
            select case when r.odometer_m is not null then array[t.s, r.odometer_m] end as odometer,
                case when r.vehicle_odometer_m is not null then array[t.s, r.vehicle_odometer_m] end as vehicle,
                case when r.engine_seconds is not null then array[t.s, r.engine_seconds] end as engine,
                case when r.fuel_l is not null then array[t.s, r.fuel_l] end as fuel,
                case when r.fuel_percent is not null then array[t.s, r.fuel_percent] end as percent) o
        group by r.fitting_id
    )
    select f.asset_id, a.name, f.device_id, e.first_time, e.last_time, coalesce(e.v2 - e.v1, e.o2 - e.o1),
        case when e.v1 is not null then 'vehicle' when e.o1 is not null then 'tracker' end, e.o1, e.o2, e.v1, e.v2, e.e1, e.e2, e.e2 - e.e1, e.f1, e.f2, e.p1, e.p2
    from ends e
    join trackport.fitting f on f.id = e.fitting_id
    join trackport.asset a on a.id = f.asset_id
    where num_nonnulls(e.o1, e.v1, e.e1, e.f1, e.p1) > 0;
end $$;
comment on function trackport.report_odometer(integer[], timestamptz, timestamptz) is
    'First and last odometer, engine time and fuel of the span, one row for each device fitted, as far as they are sent';

-- A device that was not heard since the span ended may hold records of it; for a span that has not ended, or only just: for longer than
-- gap_max. What waits in quarantine is owed as well.
create function trackport.report_owing(assets integer[], to_time timestamptz)
returns table (asset_id integer, asset text, device_id integer, imei text, last_contact_at timestamptz, newest_time timestamptz, n_quarantined bigint)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select f.asset_id, a.name, f.device_id, d.imei, s.last_contact_at, l.time, coalesce(q.n, 0)
    from trackport.fitting f
    join trackport.asset a on a.id = f.asset_id
    join trackport.group g on g.id = a.group_id
    join trackport.device d on d.id = f.device_id
    join trackport.device_state s on s.device_id = f.device_id
    left join trackport.latest l on l.device_id = f.device_id
    left join (
        select q.device_id, count(*) as n from trackport.quarantine q where q.received_at >= now() - interval '400 days' group by q.device_id
    ) q on q.device_id = f.device_id
    where f.asset_id = any ($1) and f.fitted_at < $2 and s.last_contact_at > f.fitted_at and a.retired_at is null and d.state = 'accepted'
        and (s.last_contact_at < least($2, f.removed_at, now() - g.gap_max) or q.n > 0)
$$;
comment on function trackport.report_owing(integer[], timestamptz) is
    'Devices of these assets that may still have records from before to_time: not heard since, or with packets in quarantine';

create function trackport.report_complete_up_to(assets integer[], to_time timestamptz) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
    select least($2, now(), min(o.last_contact_at)) from trackport.report_owing($1, $2) o
$$;
comment on function trackport.report_complete_up_to(integer[], timestamptz) is
    'Up to when everything is there that these assets'' devices have to say about the span before to_time';

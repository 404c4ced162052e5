-- What people and Grafana read.

create view trackport.position as
select d.imei, d.name, d.model, r.device_id, r.time, r.received_at,
    r.satellites > 0 as fix,
    r.longitude, r.latitude, r.altitude_m, r.angle_deg, r.satellites, r.speed_kmh,
    r.priority, r.event_id, r.generation, r.codec, r.port,
    r.ignition, r.movement, r.odometer_m, r.external_voltage_mv, r.battery_voltage_mv,
    r.battery_level, r.signal,
    r.temperature_1, r.temperature_2, r.temperature_3, r.temperature_4,
    r.humidity_1, r.humidity_2, r.humidity_3, r.humidity_4, r.digest
from trackport.record r
join trackport.device d on d.id = r.device_id;
comment on view trackport.position is
    'One row per record. Without a fix (no satellites) the device repeats its last position or sends zeros.';

create view trackport.record_io as
select d.imei, r.time, r.digest, e.avl_id, e.value, e.bytes
from trackport.record r
join trackport.device d on d.id = r.device_id
cross join lateral trackport.io_elements(r.codec, r.io) e;
comment on view trackport.record_io is
    'One row per IO element as sent: value unsigned, or bytes where the length is variable.';

create view trackport.reading as
select d.imei, r.time, r.device_id, r.digest, e.avl_id, a.name,
    e.value as raw,
    case when x.error is null then trim_scale(s.value * coalesce(a.multiplier, 1)) end as value,
    a.unit, x.error, e.bytes, e.width
from trackport.record r
join trackport.device d on d.id = r.device_id
cross join lateral trackport.io_elements(r.codec, r.io) e
left join lateral (
    select i.name, i.type, i.multiplier, i.unit
    from trackport.avl_id i
    where i.id = e.avl_id
        and case when d.model is null then i.everywhere else i.models @> array[d.model] end
    -- A model with two rows for one id sends them in different widths.
    order by i.bytes is distinct from e.width, i.ordinal
    limit 1
) a on true
cross join lateral (
    select case
        when e.value is null then null
        when a.type = 'signed' and e.value >= 2::numeric ^ (8 * e.width - 1)
        then e.value - 2::numeric ^ (8 * e.width)
        else e.value
    end as value
) s
cross join lateral (
    select trackport.sensor_error(e.avl_id, a.name, a.multiplier, s.value) as error
) x;
comment on view trackport.reading is
    'One row per IO element with its name for the device''s model, scaled value, unit, or the sensor''s error. Without a model only ids that mean the same on every model have a name.';

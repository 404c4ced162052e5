-- Reading the IO section of a record. Bytes that end too early end the walk; they raise no error.

create function trackport.io_elements(codec smallint, io bytea)
returns table (ordinal integer, avl_id integer, width integer, value numeric, bytes bytea)
language plpgsql immutable parallel safe strict rows 15 set search_path = pg_catalog, pg_temp as $$
declare
    id_wide boolean := codec in (142, 16);
    count_wide boolean := codec = 142;
    id_bytes integer := case when id_wide then 2 else 1 end;
    io_bytes integer := length(io);
    place integer;
    n integer;
    high bigint;
begin
    if codec not in (8, 142, 16) then
        return;
    end if;
    ordinal := 0;
    place := case when count_wide then 2 else 1 end;
    width := 1;
    while width <= 8 loop
        if count_wide then
            exit when place + 2 > io_bytes;
            n := (get_byte(io, place) << 8) + get_byte(io, place + 1);
            place := place + 2;
        else
            exit when place + 1 > io_bytes;
            n := get_byte(io, place);
            place := place + 1;
        end if;
        while n > 0 loop
            if place + id_bytes + width > io_bytes then
                return;
            end if;
            if id_wide then
                avl_id := (get_byte(io, place) << 8) + get_byte(io, place + 1);
                place := place + 2;
            else
                avl_id := get_byte(io, place);
                place := place + 1;
            end if;
            if width = 1 then
                value := get_byte(io, place);
            elsif width = 2 then
                value := (get_byte(io, place) << 8) + get_byte(io, place + 1);
            else
                high := (get_byte(io, place)::bigint << 24) + (get_byte(io, place + 1) << 16)
                    + (get_byte(io, place + 2) << 8) + get_byte(io, place + 3);
                if width = 4 then
                    value := high;
                else
                    value := high::numeric * 4294967296
                        + ((get_byte(io, place + 4)::bigint << 24) + (get_byte(io, place + 5) << 16)
                        + (get_byte(io, place + 6) << 8) + get_byte(io, place + 7));
                end if;
            end if;
            place := place + width;
            ordinal := ordinal + 1;
            return next;
            n := n - 1;
        end loop;
        width := width * 2;
    end loop;
    if not count_wide or width <= 8 or place + 2 > io_bytes then
        return;
    end if;
    n := (get_byte(io, place) << 8) + get_byte(io, place + 1);
    place := place + 2;
    value := null;
    while n > 0 loop
        if place + 4 > io_bytes then
            return;
        end if;
        avl_id := (get_byte(io, place) << 8) + get_byte(io, place + 1);
        width := (get_byte(io, place + 2) << 8) + get_byte(io, place + 3);
        place := place + 4;
        if place + width > io_bytes then
            return;
        end if;
        bytes := substring(io from place + 1 for width);
        place := place + width;
        ordinal := ordinal + 1;
        return next;
        n := n - 1;
    end loop;
end $$;
comment on function trackport.io_elements(smallint, bytea) is
    'The IO elements of trackport.record.io in the order sent: value is unsigned as sent and NULL where the length is variable, bytes is NULL where it is not.';

-- The same walk for one id, comparing ids only; a doubled id means its last value.
create function trackport.io(record trackport.record, avl_id integer) returns numeric
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    io bytea := record.io;
    codec smallint := record.codec;
    io_bytes integer := length(io);
    place integer := 1;
    found integer := -1;
    found_width integer;
    width integer := 1;
    group_end integer;
    high bigint;
begin
    if codec = 8 then
        while width <= 8 and place < io_bytes loop
            group_end := place + 1 + get_byte(io, place) * (1 + width);
            place := place + 1;
            exit when group_end > io_bytes;
            while place < group_end loop
                if get_byte(io, place) = avl_id then
                    found := place + 1;
                    found_width := width;
                end if;
                place := place + 1 + width;
            end loop;
            width := width * 2;
        end loop;
    elsif codec in (142, 16) then
        if codec = 142 then
            place := 2;
        end if;
        while width <= 8 loop
            if codec = 142 then
                exit when place + 2 > io_bytes;
                group_end := place + 2 + ((get_byte(io, place) << 8) + get_byte(io, place + 1)) * (2 + width);
                place := place + 2;
            else
                exit when place + 1 > io_bytes;
                group_end := place + 1 + get_byte(io, place) * (2 + width);
                place := place + 1;
            end if;
            exit when group_end > io_bytes;
            while place < group_end loop
                if (get_byte(io, place) << 8) + get_byte(io, place + 1) = avl_id then
                    found := place + 2;
                    found_width := width;
                end if;
                place := place + 2 + width;
            end loop;
            width := width * 2;
        end loop;
    end if;
    if found < 0 then
        return null;
    elsif found_width = 1 then
        return get_byte(io, found);
    elsif found_width = 2 then
        return (get_byte(io, found) << 8) + get_byte(io, found + 1);
    end if;
    high := (get_byte(io, found)::bigint << 24) + (get_byte(io, found + 1) << 16)
        + (get_byte(io, found + 2) << 8) + get_byte(io, found + 3);
    if found_width = 4 then
        return high;
    end if;
    return high::numeric * 4294967296
        + ((get_byte(io, found + 4)::bigint << 24) + (get_byte(io, found + 5) << 16)
        + (get_byte(io, found + 6) << 8) + get_byte(io, found + 7));
end $$;
comment on function trackport.io(trackport.record, integer) is
    'One IO element of a record by its AVL id, unsigned as sent; NULL when the record has none: SELECT trackport.io(r, 72) FROM trackport.record r';

-- What a sensor says instead of a value. The same codes are left out of the typed columns.
create function trackport.sensor_error(avl_id integer, name text, multiplier numeric, value numeric)
returns text
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
    select case
        when avl_id between 72 and 75 and name like 'Dallas Temperature _' then
            case value
                when 850 then 'not ready'
                when 5000 then 'not ready'
                when 2000 then 'read error'
                when 3000 then 'not connected'
                when 4000 then 'id failed'
            end
        when avl_id between 25 and 28 and (name like 'BLE Temperature %' or name like 'Temperature _') then
            case
                when value = 32767 then 'not found'
                when value = 32766 then 'parse failed'
                when value = 32765 then 'abnormal'
                -- At a hundredth of a degree these are 20, 30 and 40 °C, at a tenth no temperature.
                when multiplier = 0.1 and value = 4000 then 'not ready'
                when multiplier = 0.1 and value = 3000 then 'not connected'
                when multiplier = 0.1 and value = 2000 then 'read error'
            end
        when avl_id in (86, 104, 106, 108) and (name like 'BLE Humidity %' or name like 'Humidity _') then
            case value
                when 65535 then 'not found'
                when 65534 then 'parse failed'
                when 65533 then 'abnormal'
            end
    end
$$;

-- Whoever shows all assets hears which of them changed: by the asset's id, or by `group` and the id of a group.

create function trackport.asset_notify() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_notify('trackport_asset', case when tg_op = 'DELETE' then old.id else new.id end::text);
    return null;
end $$;
create trigger asset_notify after insert or delete on trackport.asset
    for each row execute function trackport.asset_notify();
create trigger asset_notify_update after update on trackport.asset
    for each row when (old.* is distinct from new.*) execute function trackport.asset_notify();

create function trackport.fitting_notify() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op <> 'INSERT' then
        perform pg_notify('trackport_asset', old.asset_id::text);
    end if;
    if tg_op <> 'DELETE' then
        perform pg_notify('trackport_asset', new.asset_id::text);
    end if;
    return null;
end $$;
create trigger fitting_notify after insert or update or delete on trackport.fitting
    for each row execute function trackport.fitting_notify();

create function trackport.group_notify() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_notify('trackport_asset', 'group ' || new.id);
    return null;
end $$;
create trigger group_notify after update on trackport.group
    for each row when (old.* is distinct from new.*) execute function trackport.group_notify();

-- Who may read everything: GRANT trackport_read TO grafana. Called again after each migration, so
-- that a role made later, by somebody with the right to, is filled in.

create function trackport.grant_read() returns text
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
    alter default privileges in schema trackport grant select on tables to trackport_read;
    return null;
exception
    when insufficient_privilege or undefined_object then
        return 'role trackport_read could not be given its rights: ' || sqlerrm;
end $$;

-- What people do with quarantine: entries that somebody has looked at raise no alert any more.

alter table trackport.quarantine add column dismissed_at timestamptz;
comment on column trackport.quarantine.dismissed_at is
    'When somebody has looked at the entry and ended its alert (trackport quarantine dismiss). It is still the only copy of its packet.';

-- The running server counts these every few seconds.
create index quarantine_kept on trackport.quarantine (imei) where acked;
create index quarantine_alerting on trackport.quarantine (id) where acked and dismissed_at is null;

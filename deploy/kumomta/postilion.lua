-- In policy/init.lua, within kumo.on('init', function() … end): KumoMTA asks Postilion's resolver. It keeps
-- what it hears by TTL, so that Postilion hears of a name once per TTL at most.
kumo.dns.configure_resolver {
  name_servers = { '127.0.0.1:5335' },
}

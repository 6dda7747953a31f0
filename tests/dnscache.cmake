lastlight_test(test_dnscache FOLDERS unit/dnscache scenarios/dns LINK lastlight_dnscache_core)

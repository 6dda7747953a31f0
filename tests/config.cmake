lastlight_test(test_config FOLDERS unit/config unit/convert unit/metrics LINK lastlight_config lastlight_cli lastlight_scrape)

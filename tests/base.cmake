lastlight_test(test_base FOLDERS unit/base LINK lastlight_base lastlight_json lastlight_log)

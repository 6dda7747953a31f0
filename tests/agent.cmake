lastlight_test(test_agent FOLDERS unit/agent LINK lastlight_app lastlight_supervisor)

lastlight_test(test_agent FOLDERS unit/agent unit/doctor LINK lastlight_app lastlight_supervisor)

lastlight_test(test_agent FOLDERS unit/agent unit/control unit/doctor unit/supervisor LINK lastlight_app lastlight_supervisor)

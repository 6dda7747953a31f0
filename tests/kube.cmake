lastlight_test(test_kube FOLDERS unit/kube LINK lastlight_kube_core)

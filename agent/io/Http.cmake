# One library per door: curl, microhttpd and inotify are each opened by one module.
lastlight_shell(lastlight_http_client SOURCES http_client.cpp http_once.cpp http_sockets.cpp http_transfer.cpp LINK lastlight_io PRIVATE ll_curl)
lastlight_shell(lastlight_http_server SOURCES http_server.cpp LINK lastlight_io PRIVATE ll_mhd)
lastlight_shell(lastlight_file_watch SOURCES file_watch.cpp LINK lastlight_io)

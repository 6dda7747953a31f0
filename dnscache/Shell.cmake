# How questions travel: the pure parts first, then the sockets.
lastlight_core(lastlight_dnscache_transport SOURCES upstream_pool.cpp upstream_waiting.cpp
               upstream_channels.cpp upstream_latency.cpp pace.cpp tcp_framing.cpp resolv_conf.cpp LINK lastlight_base)
lastlight_shell(lastlight_dnscache SOURCES upstream.cpp upstream_channel.cpp upstream_sockets.cpp random_numbers.cpp server.cpp LINK lastlight_dnscache_transport lastlight_io_net
                PRIVATE ll_cares)
add_subdirectory(takeover)

# The agent's own pure parts, and the programs (agent/supervisor/programs.h); lastlight-agent is the only one that sees every module.

# The status page, as a string literal.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS http/page.html)
file(READ http/page.html LASTLIGHT_PAGE)
configure_file(http/page.h.in "${CMAKE_CURRENT_BINARY_DIR}/generated/agent/http/page.h" @ONLY)
configure_file(version.h.in "${CMAKE_CURRENT_BINARY_DIR}/generated/agent/version.h" @ONLY)

lastlight_core(lastlight_agent_core
  SOURCES leaving.cpp name_probe.cpp path_proof.cpp startup_taint.cpp pods_left.cpp own_names.cpp api_server.cpp http/routes.cpp http/route_table.cpp control/cache_routes.cpp control/takeover_route.cpp
          doctor/facts.cpp doctor/packet.cpp doctor/findings.cpp doctor/findings_chains.cpp doctor/findings_policies.cpp
  LINK lastlight_base lastlight_json lastlight_dnscache_core lastlight_kube_core lastlight_interrupt_core)
target_include_directories(lastlight_agent_core PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/generated")

lastlight_shell(lastlight_app
  SOURCES supervised.cpp cache_image.cpp confinement.cpp takeover.cpp addresses.cpp last_pods.cpp node_events.cpp app.cpp interruption.cpp control/control.cpp http_listeners.cpp process_stats.cpp reloading.cpp self_probe.cpp service_lookup.cpp
          loop_guard.cpp on_this_node.cpp telling.cpp control/drain_routes.cpp cli/status.cpp cli/ask_agent.cpp cli/cache.cpp
          cli/table.cpp cli/drain.cpp cli/dry_run.cpp cli/drain_standalone.cpp
          cli/doctor.cpp doctor/ask.cpp doctor/look.cpp taint_removal.cpp
  LINK lastlight_supervision lastlight_agent_core lastlight_config lastlight_log lastlight_cli lastlight_kube_core lastlight_interrupt
       lastlight_dnscache lastlight_takeover_core lastlight_scrape lastlight_http_client lastlight_http_server lastlight_file_watch)

target_include_directories(lastlight_app PUBLIC "${CMAKE_CURRENT_BINARY_DIR}/generated")

add_executable(lastlight main.cpp)
target_link_libraries(lastlight PRIVATE lastlight_supervisor)

add_executable(lastlight-agent agent_main.cpp)
target_link_libraries(lastlight-agent PRIVATE lastlight_app)

add_executable(lastlight-takeover takeover_main.cpp cli/takeover.cpp cli/inspect.cpp cli/exempt.cpp cli/uninstall.cpp)
target_link_libraries(lastlight-takeover PRIVATE lastlight_takeover lastlight_supervision lastlight_json)

add_dependencies(lastlight lastlight-agent lastlight-takeover)
install(TARGETS lastlight lastlight-agent lastlight-takeover)

# The manual, as the agent prints it.
add_custom_command(OUTPUT lastlight.8 COMMAND lastlight-agent --man > lastlight.8 DEPENDS lastlight-agent VERBATIM)
add_custom_target(lastlight-manual ALL DEPENDS lastlight.8)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/lastlight.8" DESTINATION share/man/man8)

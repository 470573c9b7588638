# How other projects find the installed library: a pkg-config file and a CMake package.

include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/libpager")

configure_file("${CMAKE_CURRENT_LIST_DIR}/libpager.pc.in" "${PROJECT_BINARY_DIR}/libpager.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/libpager.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/libpagerConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/libpagerConfig.cmake" INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/libpagerConfigVersion.cmake"
    COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/libpagerConfig.cmake" "${PROJECT_BINARY_DIR}/libpagerConfigVersion.cmake"
    DESTINATION "${package_dir}")
install(EXPORT libpager FILE libpagerTargets.cmake NAMESPACE libpager:: DESTINATION "${package_dir}")

# Read at the end of project(): see hurd-standin.cmake.

set_property(GLOBAL PROPERTY TARGET_SUPPORTS_SHARED_LIBS TRUE)
set(CMAKE_SHARED_LIBRARY_SONAME_C_FLAG "-Wl,-soname,")
set(CMAKE_SHARED_LIBRARY_CREATE_C_FLAGS "-shared")
set(CMAKE_C_COMPILE_OPTIONS_PIC -fPIC)
set(CMAKE_SHARED_LIBRARY_SUFFIX .so)
set(CMAKE_SHARED_LIBRARY_C_FLAGS "")

# What the Hurd has ready, MIG's client headers, is made here.
list(APPEND CMAKE_MODULE_PATH "${PROJECT_SOURCE_DIR}/scripts/cmake")
include(Mig)
set(standin "${PROJECT_BINARY_DIR}/standin")
foreach(name mach:mach_interface mach_port:mach_port mach4:mach4)
    string(REGEX MATCH "(.*):(.*)" name "${name}")
    set(header "${standin}/mach/${CMAKE_MATCH_2}.h")
    file(MAKE_DIRECTORY "${standin}/mach")
    set(flags "")
    if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
        set(flags -D__x86_64__)
    endif()
    execute_process(COMMAND "${MIG_EXECUTABLE}" ${flags} "-I${MACH_INCLUDE_DIR}" -n -header "${header}"
        "${MACH_INCLUDE_DIR}/mach/${CMAKE_MATCH_1}.defs" COMMAND_ERROR_IS_FATAL ANY)
endforeach()
include_directories(SYSTEM "${PROJECT_SOURCE_DIR}/scripts/hurd/include" "${standin}")

# libpager's C parts, and how the libraries are put together: the same for every system.
#
#   pager_c                                object library: Sources/CPlatform and MIG's stubs
#   pager_exports(<variable>)              the linker's map of what a program may see (exports.txt)
#   pager_single_object(<variable> <engine>)    rule for one object file with everything, that exports the API and nothing else

include(Mig)

set(pager_c_platform "${PROJECT_SOURCE_DIR}/Sources/CPlatform")
set(pager_c_generated "${CMAKE_CURRENT_BINARY_DIR}/generated")
set(pager_c_exports "${CMAKE_CURRENT_LIST_DIR}/exports.txt")

mig_generate(mach/memory_object.defs
    SERVER "${pager_c_generated}/memory_object_server.c" SERVER_HEADER "${pager_c_generated}/memory_object_S.h"
    PREFIX _pager_ SERVERPREFIX S_ IMACROS "${pager_c_platform}/mig/mutate.h")

# What we send to clients. Stubs of our own, since the system's may wait for ever (send.c).
mig_generate(mach/mach.defs
    USER_SPLIT "${pager_c_generated}/control_" USER_HEADER "${pager_c_generated}/control_U.h" USERPREFIX pager_control_
    ROUTINES memory_object_ready memory_object_data_supply memory_object_data_error memory_object_lock_request
        memory_object_change_attributes memory_object_destroy
    OUTPUTS pager_c_stubs)
list(FILTER pager_c_stubs INCLUDE REGEX "\\.c$")

add_library(pager_c OBJECT
    "${pager_c_platform}/copy_posix.c" "${pager_c_platform}/hooks.c" "${pager_c_platform}/libports.c"
    "${pager_c_platform}/platform_posix.c" "${pager_c_platform}/send.c" "${pager_c_platform}/server.c"
    "${pager_c_generated}/memory_object_server.c" ${pager_c_stubs})
set_target_properties(pager_c PROPERTIES C_STANDARD 11 C_EXTENSIONS ON POSITION_INDEPENDENT_CODE ON)
target_compile_definitions(pager_c PRIVATE _GNU_SOURCE)
target_compile_options(pager_c PRIVATE -Wall -Wextra -Werror)
if(LIBPAGER_FUZZ)
    target_compile_options(pager_c PRIVATE -fsanitize=fuzzer-no-link)
endif()
# No call into the dynamic linker for what is thread-local.
set_source_files_properties("${pager_c_platform}/copy_posix.c" "${pager_c_platform}/platform_posix.c" PROPERTIES
    COMPILE_OPTIONS "-ftls-model=initial-exec")
set_source_files_properties("${pager_c_generated}/memory_object_server.c" PROPERTIES COMPILE_OPTIONS "-w")
set_source_files_properties(${pager_c_stubs} PROPERTIES
    COMPILE_OPTIONS "-w;-include;${pager_c_platform}/include/send.h;-Dmach_msg=pager_send_control")
target_include_directories(pager_c PRIVATE "${pager_c_platform}/include" "${pager_c_generated}")

# exports.txt: one name a line.
function(pager_exports variable)
    set(map "${CMAKE_CURRENT_BINARY_DIR}/exports.map")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${pager_c_exports}")
    file(STRINGS "${pager_c_exports}" names)
    string(JOIN "; " joined ${names})
    file(WRITE "${map}" "{ global: ${joined}; local: *; };\n")
    set(${variable} "${map}" PARENT_SCOPE)
endfunction()

function(pager_single_object variable engine)
    set(single "${CMAKE_CURRENT_BINARY_DIR}/pager.o")
    add_custom_command(
        OUTPUT "${single}"
        COMMAND "${CMAKE_LINKER}" -r ${PAGER_LINKER_EMULATION} -o "${single}.all" $<TARGET_OBJECTS:pager_c> "${engine}"
        COMMAND "${CMAKE_OBJCOPY}" "--keep-global-symbols=${pager_c_exports}" "${single}.all" "${single}"
        DEPENDS $<TARGET_OBJECTS:pager_c> "${engine}" "${pager_c_exports}"
        COMMAND_EXPAND_LISTS VERBATIM)
    set_source_files_properties("${single}" PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
    set(${variable} "${single}" PARENT_SCOPE)
endfunction()

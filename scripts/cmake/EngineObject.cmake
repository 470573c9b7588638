# The engine: one object file, for any target that the Swift toolchain has an Embedded standard library for.
#
#   engine_object(<object>                # absolute path of the object file to make
#       TARGET <triple>                   # as swiftc takes it: x86_64-unknown-linux-gnu, i686-unknown-none-elf, ...
#       [MACH_INCLUDE <dir>]              # where <mach/...> of the target's architecture is; default: that of Debian's gnumach-dev
#       [FLAGS <flag>...])                # more for swiftc
#
# makes the rule; the caller names <object> as a source, or in a DEPENDS. A target without an operating system has no C library: the
# object is the same for every system on that architecture, since the engine knows no error numbers and no layout of the system's.
#
# Options of the project that count: LIBPAGER_QUICK, LIBPAGER_CHECKS, LIBPAGER_SANITIZE, CMAKE_BUILD_TYPE.
#
#   engine_object_checked(<stamp> <object> [ALLOWED <file>...])
#
# makes a rule for <stamp>: fails if <object> needs a symbol that no line of scripts/engine-needs nor of the <file>s names.

find_program(SWIFTC swiftc REQUIRED DOC "Swift compiler, 6.3 or later")

# <variable>: Mach's headers of the architecture of <triple>, from Debian's gnumach-dev (which can be installed for several).
function(engine_mach_include variable triple)
    string(REGEX REPLACE "-.*" "" cpu "${triple}")
    if(cpu MATCHES "^i[3-6]86$")
        set(cpu i386)
    endif()
    find_path(MACH_INCLUDE_DIR_${cpu} mach/message.h
        PATH_SUFFIXES ${cpu}-linux-gnu
        NO_CMAKE_SYSTEM_PATH PATHS /usr/include /usr/local/include
        DOC "Folder that holds mach/message.h for ${cpu} (Debian: gnumach-dev:<architecture>)" REQUIRED)
    set(${variable} "${MACH_INCLUDE_DIR_${cpu}}" PARENT_SCOPE)
endfunction()

function(engine_object object)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "TARGET;MACH_INCLUDE" "FLAGS")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_TARGET)
        message(FATAL_ERROR "engine_object: TARGET is needed; not known: ${arg_UNPARSED_ARGUMENTS}")
    endif()
    set(engine_dir "${PROJECT_SOURCE_DIR}/Sources/Pager")
    set(platform_dir "${PROJECT_SOURCE_DIR}/Sources/CPlatform")
    file(GLOB sources CONFIGURE_DEPENDS "${engine_dir}/Pagemap/*.swift" "${engine_dir}/Protocol/*.swift"
         "${engine_dir}/Service/*.swift" "${engine_dir}/Entry/*.swift")
    file(GLOB headers CONFIGURE_DEPENDS "${platform_dir}/include/*" "${PROJECT_SOURCE_DIR}/include/*/*.h"
         "${PROJECT_SOURCE_DIR}/include/*/*/*.h")

    set(flags -target ${arg_TARGET} -enable-experimental-feature Embedded -wmo -parse-as-library -swift-version 5 -module-name Pager
        -Xfrontend -function-sections -g)
    # The engine has no buffers on its stack. (And what the stack protector needs of the C library a target without one has not.)
    list(APPEND flags -Xfrontend -disable-stack-protector -Xcc -fno-stack-protector)
    if(LIBPAGER_QUICK)
        list(APPEND flags -Onone -assert-config Release)
    elseif(LIBPAGER_CHECKS OR CMAKE_BUILD_TYPE STREQUAL "Debug")
        # Assertions stay in; still optimized, so that nothing is allocated.
        list(APPEND flags -O -assert-config Debug)
    else()
        list(APPEND flags -O)
    endif()
    if(LIBPAGER_FUZZ)
        # Coverage for libFuzzer, and comparisons.
        list(APPEND flags -sanitize=address,fuzzer)
    elseif(LIBPAGER_SANITIZE)
        list(APPEND flags -sanitize=${LIBPAGER_SANITIZE})
    elseif(NOT LIBPAGER_QUICK)
        # Proof at compile time: the engine allocates nothing behind our back.
        list(APPEND flags -no-allocations)
    endif()
    list(APPEND flags -Xcc -fPIC -Xcc -D_GNU_SOURCE)
    if(arg_TARGET MATCHES "-none-")
        # No C library, so none of its <errno.h>.
        list(APPEND flags -Xcc "-I${platform_dir}/freestanding")
    endif()
    foreach(dir IN ITEMS "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/include/hostmach")
        list(APPEND flags -Xcc "-I${dir}")
    endforeach()
    if(NOT arg_MACH_INCLUDE AND arg_TARGET MATCHES "-none-")
        engine_mach_include(arg_MACH_INCLUDE ${arg_TARGET})
    endif()
    if(arg_MACH_INCLUDE)
        list(APPEND flags -Xcc -idirafter -Xcc "${arg_MACH_INCLUDE}")
    endif()

    get_filename_component(dir "${object}" DIRECTORY)
    file(MAKE_DIRECTORY "${dir}")
    add_custom_command(
        OUTPUT "${object}"
        COMMAND "${SWIFTC}" ${flags} ${arg_FLAGS} -I "${platform_dir}/include" -c ${sources} -o "${object}"
        DEPENDS ${sources} ${headers}
        COMMENT "Swift: the engine for ${arg_TARGET}"
        VERBATIM)
    set_source_files_properties("${object}" PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
endfunction()

function(engine_object_checked stamp object)
    cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "ALLOWED")
    set(needs "${PROJECT_SOURCE_DIR}/scripts/engine-needs")
    add_custom_command(
        OUTPUT "${stamp}"
        COMMAND "${PROJECT_SOURCE_DIR}/scripts/check-undefined" "${object}" "${needs}" ${arg_ALLOWED}
        COMMAND "${CMAKE_COMMAND}" -E touch "${stamp}"
        DEPENDS "${object}" "${needs}" ${arg_ALLOWED} "${PROJECT_SOURCE_DIR}/scripts/check-undefined"
        COMMENT "Undefined symbols of ${object}"
        VERBATIM)
endfunction()

# Runs the Mach interface generator on an interface file.
#
#   mig_generate(<defs>
#       [USER <file.c>] [USER_HEADER <file.h>]        # stubs that send: names get USERPREFIX
#       [SERVER <file.c>] [SERVER_HEADER <file.h>]    # stubs that receive: call names with SERVERPREFIX, demux is <subsystem>_server
#       [USER_SPLIT <base> ROUTINES <name>...]        # instead of USER: one file <base><name>.c per routine; those listed are outputs
#       [PREFIX <p>]                                  # put before the routine, demux and table names (MIG's -prefix)
#       [USERPREFIX <p>] [SERVERPREFIX <p>]           # as the interface files understand them (-DUSERPREFIX=...)
#       [IMACROS <header>]                            # read for its macros before the interface file
#       [DEFINES <NAME[=value]>...] [INCLUDES <dir>...]
#       [DEPENDS <file>...]
#       [OUTPUTS <variable>])                         # gets the list of all generated files
#
# <defs> is an absolute path or a path on the include path, such as mach/memory_object.defs. Relative outputs are taken
# from CMAKE_CURRENT_BINARY_DIR. The rule runs again when the interface file, the IMACROS header or a DEPENDS changes;
# add the generated files to a target of the same directory to have it run.
#
# MIG_EXECUTABLE can be set by hand (a cross MIG). -D__x86_64__ is given for 64-bit machines: without it MIG would
# silently take vm_offset_t for 32 bits.

find_program(MIG_EXECUTABLE
    NAMES x86_64-gnu-mig mig
    DOC "The Mach interface generator (Debian: mig-for-host)")

# The folder of Mach's own interface files and headers: <folder>/mach/mach.defs.
find_path(MACH_INCLUDE_DIR mach/mach.defs
    PATH_SUFFIXES x86_64-linux-gnu
    DOC "Folder that holds mach/mach.defs (Debian: gnumach-dev)")

function(mig_generate defs)
    cmake_parse_arguments(PARSE_ARGV 1 arg ""
        "USER;USER_HEADER;SERVER;SERVER_HEADER;USER_SPLIT;PREFIX;USERPREFIX;SERVERPREFIX;IMACROS;OUTPUTS"
        "ROUTINES;DEFINES;INCLUDES;DEPENDS")
    if(arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "mig_generate: what is ${arg_UNPARSED_ARGUMENTS}?")
    endif()
    if(NOT MIG_EXECUTABLE)
        message(FATAL_ERROR "mig_generate: no MIG found; install mig-for-host or set MIG_EXECUTABLE")
    endif()

    if(IS_ABSOLUTE "${defs}")
        set(input "${defs}")
    else()
        set(input "")
        foreach(dir IN LISTS arg_INCLUDES MACH_INCLUDE_DIR)
            if(EXISTS "${dir}/${defs}")
                set(input "${dir}/${defs}")
                break()
            endif()
        endforeach()
    endif()
    if(NOT input OR NOT EXISTS "${input}")
        message(FATAL_ERROR "mig_generate: ${defs} is not on the include path; install gnumach-dev")
    endif()

    set(flags "")
    if(CMAKE_SIZEOF_VOID_P EQUAL 8)
        list(APPEND flags -D__x86_64__)
    endif()
    foreach(define IN LISTS arg_DEFINES)
        list(APPEND flags "-D${define}")
    endforeach()
    foreach(dir IN LISTS arg_INCLUDES)
        list(APPEND flags "-I${dir}")
    endforeach()
    if(MACH_INCLUDE_DIR)
        list(APPEND flags "-I${MACH_INCLUDE_DIR}")
    endif()
    if(arg_USERPREFIX)
        list(APPEND flags "-DUSERPREFIX=${arg_USERPREFIX}")
    endif()
    if(arg_SERVERPREFIX)
        list(APPEND flags "-DSERVERPREFIX=${arg_SERVERPREFIX}")
    endif()
    set(depends "${input}" ${arg_DEPENDS})
    if(arg_IMACROS)
        get_filename_component(imacros "${arg_IMACROS}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
        list(APPEND flags -imacros "${imacros}")
        list(APPEND depends "${imacros}")
    endif()
    if(arg_PREFIX)
        list(APPEND flags -prefix "${arg_PREFIX}")
    endif()

    # -n: only the files that are named.
    list(APPEND flags -n)
    set(outputs "")
    foreach(pair USER:-user USER_HEADER:-header SERVER:-server SERVER_HEADER:-sheader)
        string(REPLACE ":" ";" pair "${pair}")
        list(GET pair 0 key)
        list(GET pair 1 option)
        if(arg_${key})
            get_filename_component(file "${arg_${key}}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_BINARY_DIR}")
            list(APPEND flags ${option} "${file}")
            list(APPEND outputs "${file}")
        endif()
    endforeach()
    if(arg_USER_SPLIT)
        get_filename_component(base "${arg_USER_SPLIT}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_BINARY_DIR}")
        list(APPEND flags -i "${base}")
        foreach(routine IN LISTS arg_ROUTINES)
            list(APPEND outputs "${base}${routine}.c")
        endforeach()
    endif()
    if(NOT outputs)
        message(FATAL_ERROR "mig_generate: nothing to generate from ${defs}")
    endif()
    foreach(file IN LISTS outputs)
        get_filename_component(dir "${file}" DIRECTORY)
        file(MAKE_DIRECTORY "${dir}")
    endforeach()

    add_custom_command(
        OUTPUT ${outputs}
        COMMAND "${MIG_EXECUTABLE}" ${flags} "${input}"
        DEPENDS ${depends}
        COMMENT "MIG ${defs}"
        VERBATIM)
    if(arg_OUTPUTS)
        set(${arg_OUTPUTS} ${outputs} PARENT_SCOPE)
    endif()
endfunction()

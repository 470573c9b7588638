/* notify_hooks.h - the hooks that notify.defs leaves open; read by MIG's preprocessor. */

#define NOTIFY_INTRAN     port_info_t ports_begin_using_port (mach_port_t)
#define NOTIFY_DESTRUCTOR ports_end_using_port (port_info_t)
#define NOTIFY_IMPORTS    import "translations.h";

/* The functions that the engine calls and that tests of the page map and of the protocol never reach: Mach's, those of libports, a
   translator's.  Each ends the test, by its name.  */

#include <stdio.h>
#include <stdlib.h>

#include "strangers.h"

static void reached(const char *name)
{
    fprintf(stderr, "%s was called in a test that has no Mach\n", name);
    abort();
}

#define STRANGER(name) void name(void); void name(void) { reached(#name); }

unsigned long vm_page_size = 4096;
const unsigned long pager_port_head_bytes = 128;
const int pager_receive_too_large = 1, pager_send_invalid_destination = 2, pager_receive_timed_out = 3, pager_send_given_up = 4, pager_send_lost = 5;

STRANGER(mach_port_deallocate)
STRANGER(pager_control_memory_object_change_attributes)
STRANGER(pager_control_memory_object_data_error)
STRANGER(pager_control_memory_object_data_supply)
STRANGER(pager_control_memory_object_destroy)
STRANGER(pager_control_memory_object_lock_request)
STRANGER(pager_control_memory_object_ready)
STRANGER(pager_clear_user_data)
STRANGER(pager_drop_receive_right)
STRANGER(pager_dropweak)
STRANGER(pager_finish_message)
STRANGER(pager_is_ours_alone)
STRANGER(pager_rename_alone)
STRANGER(pager_is_dead_name)
STRANGER(pager_make_marker_port)
STRANGER(pager_make_read_only_proxy)
STRANGER(pager_message_port)
STRANGER(pager_notify_evict)
STRANGER(pager_port_of)
STRANGER(pager_read_page)
STRANGER(pager_receive)
STRANGER(pager_report_extent)
STRANGER(pager_request_dead_name)
STRANGER(pager_send_marker)
STRANGER(pager_serve_message)
STRANGER(pager_serve_notification)
STRANGER(pager_try_send_marker)
STRANGER(pager_unlock_page)
STRANGER(pager_write_page)
STRANGER(pager_write_pages)
STRANGER(ports_create_class)
STRANGER(ports_create_port_noinstall)
STRANGER(ports_get_right)
STRANGER(ports_port_deref)
STRANGER(ports_port_ref)
STRANGER(vm_deallocate)
STRANGER(pager_port_is_drained)
STRANGER(mach_port_destroy)
STRANGER(pager_reply_code)
STRANGER(pager_is_dead)
STRANGER(ports_get_send_right)
STRANGER(pager_port_next_number)
STRANGER(vm_allocate)
STRANGER(vm_map)
STRANGER(pager_read_pages)
STRANGER(pager_port_end)
STRANGER(pager_send_hopeless)
STRANGER(pager_cancel_dead_name)
STRANGER(pager_message_id)
STRANGER(pager_message_number)
STRANGER(pager_own_task)
STRANGER(pager_begin_call)
STRANGER(pager_end_call)
STRANGER(pager_message_object)
STRANGER(pager_bucket_port_set)
STRANGER(pager_install_port)
STRANGER(pager_destroy_right)

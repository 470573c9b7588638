/* messages.c - target: raw messages to the pager's port, as no kernel sends them, while a kernel in order uses the object.

   The senders are tasks of their own. A message begins as one that MIG's stub makes, or as nothing at all; then bytes and type words in it are
   changed, it is cut or lengthened, gets another id, another port in the place of the control port, a reply port. HostMach refuses
   what Mach would refuse; all else reaches the worker that receives, and the demuxer. Some messages are changed behind Mach's back
   instead, when a worker has received them (direct.c).

   An input is
     CONFIGURATION_BYTES    the world (scenario.c), of which one kernel or two are in order and one is hostile; a byte for each sender
     records                a first byte below STEP_KINDS: a step (scenario.c); else a message of MESSAGE_BYTES and of as many bytes as its last says
     any                    the first choices of the scheduler

   Pages that are in order are not asked for by senders: whoever gets one, and keeps it, may do so (README.md). So the requests and unlocks among the
   messages are moved to the tainted pages. In the end the senders die, and everybody else must have all that he waits for. */

#include <stdlib.h>
#include <string.h>

#include <mach/notify.h>

#include "fuzz.h"
#include "messages.h"
#include "raw_memory_object.h"
#include "report.h"
#include "world.h"

enum { SENDERS = 4, STEP_KINDS = 80, MESSAGE_BYTES = 20, MESSAGES_MAX = 128, SPACE = 1024, EXTRA_MAX = 80 };
enum { REQUEST_ID = 2203, UNLOCK_ID = 2204, FIRST_ID = 2200 };
static const uint64_t MARK = 0x5a17c0de00000000u;

static struct sender {
    hostmach_task_t task;
    mach_port_t pager, read_only;       /* send rights */
    mach_port_t control, name;          /* receive rights */
    uint8_t mode;
} senders[SENDERS];

static struct input messages[MESSAGES_MAX];
static uint8_t modes[SENDERS];
static bool has_ended;

/* ---- Senders ---- */

static void swallow(mach_msg_header_t *message, void *unused)
{
    (void) unused;
    mach_msg_destroy(message);
}

/* A control port that takes what comes; or a queue, which is full soon. */
static void renew_ports(struct sender *sender)
{
    mach_port_type_t type;
    if (mach_port_type(mach_task_self(), sender->control, &type) != KERN_SUCCESS || !(type & MACH_PORT_TYPE_RECEIVE)) {
        if (mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &sender->control) != KERN_SUCCESS)
            sender->control = MACH_PORT_NULL;
        else if (sender->mode & 1)
            mach_port_set_qlimit(mach_task_self(), sender->control, 1 + (sender->mode >> 1 & 3));
        else
            hostmach_port_set_handler(sender->control, swallow, NULL);
    }
    if ((mach_port_type(mach_task_self(), sender->name, &type) != KERN_SUCCESS || !(type & MACH_PORT_TYPE_RECEIVE))
        && mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &sender->name) != KERN_SUCCESS)
        sender->name = MACH_PORT_NULL;
}

static void open_sender(struct sender *sender, uint8_t mode)
{
    *sender = (struct sender) { .task = hostmach_task_create("sender"), .mode = mode };
    mach_port_t read_only = pager_create_ro_port(world.pager);
    if (hostmach_copy_send(hostmach_task_main(), world.port, sender->task, &sender->pager) != KERN_SUCCESS)
        sender->pager = MACH_PORT_NULL;
    if (MACH_PORT_VALID(read_only)) {
        hostmach_copy_send(hostmach_task_main(), read_only, sender->task, &sender->read_only);
        mach_port_deallocate(mach_task_self(), read_only);
    }
}

static void open_senders(void)
{
    has_ended = false;
    direct_clear();
    for (unsigned i = 0; i < SENDERS; i++)
        open_sender(&senders[i], modes[i]);
}

static void end_senders(void)
{
    if (has_ended)
        return;
    has_ended = true;
    for (unsigned i = 0; i < SENDERS; i++) {
        hostmach_task_drain(senders[i].task);
        hostmach_task_destroy(senders[i].task);
    }
}

/* ---- A message ---- */

/* What is being made: by the calling thread, which does not stop meanwhile. */
static struct {
    char *at;
    mach_msg_size_t size;
} making;
/* Where offset and length are in a request, and in an unlock. */
static mach_msg_size_t offset_at, length_at;

/* The stub has made a message. */
mach_msg_return_t messages_take(mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size,
                                mach_msg_size_t receive_size, mach_port_t receive_name, mach_msg_timeout_t timeout, mach_port_t notify)
{
    (void) option, (void) receive_size, (void) receive_name, (void) timeout, (void) notify;
    making.size = send_size;
    memcpy(making.at, message, send_size);
    return MACH_MSG_SUCCESS;
}

static mach_msg_size_t find(const char *message, mach_msg_size_t size, uint64_t value)
{
    for (mach_msg_size_t at = sizeof(mach_msg_header_t); at + sizeof value <= size; at += 4)
        if (memcmp(message + at, &value, sizeof value) == 0)
            return at;
    report_failure("fuzz: a message has no such field");
}

static void measure(void)
{
    char message[SPACE];
    making.at = message;
    raw_memory_object_data_request(MACH_PORT_NULL, MACH_PORT_NULL, MARK, MARK + 1, VM_PROT_READ);
    offset_at = find(message, making.size, MARK);
    length_at = find(message, making.size, MARK + 1);
}

static vm_offset_t some_offset(unsigned page)
{
    const struct configuration *c = world.configuration;
    static const vm_offset_t odd[] = { 1, 4095, 2048, 8 };
    vm_offset_t offset = page_offset(page % c->pages);
    if (page < 128)
        return offset;
    if (page < 160)
        return offset + odd[page % 4];
    if (page < 200)
        return page_offset(c->pages + page);
    if (page < 220)
        return (vm_offset_t) 0 - vm_page_size * (page - 199);
    return (vm_offset_t) page << (page % 57);
}

static vm_size_t some_length(unsigned code)
{
    static const vm_size_t odd[] = { 0, 1, 4095, 4097, (vm_size_t) -1, (vm_size_t) -4096, 1ull << 32, 1ull << 63 };
    return code < 192 ? vm_page_size * (1 + code % 4) : code < 224 ? odd[code % 8] : vm_page_size * code;
}

/* In the place of the control port. */
static mach_port_t some_port(struct sender *sender, unsigned kind, const struct sender *other)
{
    mach_port_t fresh = MACH_PORT_NULL;
    switch (kind % 12) {
    case 0: return MACH_PORT_NULL;
    case 1: return MACH_PORT_DEAD;
    case 2: return sender->name;
    case 3: return 0x7fffff00;
    case 4:
        mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &fresh);
        return fresh;
    case 5:
        mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_DEAD_NAME, &fresh);
        return fresh;
    case 6:
        /* (Its control port under a name of ours.) */
        return hostmach_copy_send(other->task, other->control, sender->task, &fresh) == KERN_SUCCESS ? fresh : MACH_PORT_NULL;
    default: return sender->control;
    }
}

/* As a kernel makes it: with the stub of MIG's. */
static void make(struct sender *sender, unsigned id, mach_port_t control, unsigned page, unsigned length_code, unsigned flags)
{
    static char data[4 * 4096];
    vm_offset_t offset = some_offset(page);
    vm_size_t length = some_length(length_code);
    mach_port_t pager = sender->pager;
    mach_msg_type_number_t count = (mach_msg_type_number_t) (length_code % 5 * 4096 + (length_code >= 224));
    count = count > sizeof data ? sizeof data : count;
    memset(data, 0xee, sizeof data);
    switch (id) {
    case 0: raw_memory_object_init(pager, control, sender->name, length_code < 224 ? vm_page_size : length); break;
    case 1: raw_memory_object_terminate(pager, control, sender->name); break;
    case 2: raw_memory_object_copy(pager, control, offset, length, sender->name); break;
    case 3: raw_memory_object_data_request(pager, control, offset, length, (vm_prot_t) (flags & 7)); break;
    case 4: raw_memory_object_data_unlock(pager, control, offset, length, (vm_prot_t) (flags & 7)); break;
    case 6: raw_memory_object_lock_completed(pager, MACH_MSG_TYPE_MAKE_SEND, control, offset, length); break;
    case 7:
        raw_memory_object_supply_completed(pager, MACH_MSG_TYPE_MAKE_SEND, control, offset, length, (kern_return_t) flags, offset);
        break;
    case 8: raw_memory_object_data_return(pager, control, offset, (vm_offset_t) data, count, flags & 1, flags >> 1 & 1); break;
    case 9:
        raw_memory_object_change_completed(pager, MACH_MSG_TYPE_MAKE_SEND, flags & 1,
                                           (memory_object_copy_strategy_t) (flags >> 1 & 3));
        break;
    default: {
        /* A notification that nobody gave. */
        mach_dead_name_notification_t notification = { 0 };
        notification.not_type = (mach_msg_type_t) {
            .msgt_name = flags & 1 ? MACH_MSG_TYPE_PORT_NAME : MACH_MSG_TYPE_INTEGER_32, .msgt_size = 32, .msgt_number = 1, .msgt_inline = TRUE,
        };
        notification.not_port = flags & 2 ? control : page;
        notification.not_header.msgh_bits = MACH_MSGH_BITS(MACH_MSG_TYPE_COPY_SEND, 0);
        notification.not_header.msgh_remote_port = pager;
        notification.not_header.msgh_id = MACH_NOTIFY_FIRST + (mach_msg_id_t) (length_code % 10);
        memcpy(making.at, &notification, sizeof notification);
        making.size = sizeof notification;
    }
    }
}

static void set_reply(mach_msg_header_t *header, unsigned kind, const struct sender *sender)
{
    static const mach_msg_type_name_t types[] = { MACH_MSG_TYPE_MAKE_SEND, MACH_MSG_TYPE_MAKE_SEND_ONCE, MACH_MSG_TYPE_COPY_SEND };
    if (kind % 8 >= 4)
        return;
    mach_msg_type_name_t type = kind % 8 == 3 ? kind >> 3 : types[kind % 8];
    header->msgh_bits = (header->msgh_bits & ~MACH_MSGH_BITS_LOCAL_MASK) | (type << 8 & MACH_MSGH_BITS_LOCAL_MASK);
    header->msgh_local_port = kind & 8 ? sender->name : sender->control;
}

/* What asks for a page of those in order asks for a tainted one, and for no endless number. */
void messages_restrain(char *message, mach_msg_size_t size)
{
    mach_msg_id_t id = ((mach_msg_header_t *) (void *) message)->msgh_id;
    vm_offset_t offset, least = page_offset(world.configuration->pages - world.configuration->tainted);
    vm_size_t length;
    if ((id != REQUEST_ID && id != UNLOCK_ID) || size < length_at + sizeof length || size < offset_at + sizeof offset)
        return;
    memcpy(&offset, message + offset_at, sizeof offset);
    memcpy(&length, message + length_at, sizeof length);
    if (offset < least)
        offset += least;
    if (offset + length >= offset && length > 64 * vm_page_size)
        length = 64 * vm_page_size;
    memcpy(message + offset_at, &offset, sizeof offset);
    memcpy(message + length_at, &length, sizeof length);
}

static void post(struct input input)
{
    unsigned what = input_byte(&input), id = input_byte(&input) % 16, control = input_byte(&input), page = input_byte(&input);
    unsigned length = input_byte(&input), flags = input_byte(&input), reply = input_byte(&input);
    int more = (int8_t) input_byte(&input);
    unsigned changes = input_byte(&input) % (CHANGES + 1);
    struct direct direct = { .more = what & 64 ? more : 0, .complex = what & 32, .changes = changes };
    for (unsigned i = 0; i < CHANGES; i++) {
        direct.change[i].at = input_byte(&input);
        direct.change[i].value = input_byte(&input);
    }
    input_byte(&input);                 /* how many bytes are left */
    bool is_direct = what & 128;
    _Alignas(16) char message[SPACE] = "";
    mach_msg_header_t *header = (mach_msg_header_t *) (void *) message;
    struct sender *sender = &senders[what % SENDERS];
    if (has_ended || sender->pager == MACH_PORT_NULL)
        return;
    hostmach_task_t before = hostmach_task_enter(sender->task);
    renew_ports(sender);
    mach_port_t port = some_port(sender, control, &senders[(what + 1 + control / 12) % SENDERS]);
    /* (No point of choice between here and the copy of the message.) */
    making.at = message;
    making.size = sizeof *header;
    if (!(what & 16)) {
        make(sender, id, port, page, length, flags);
    } else {
        header->msgh_id = id < 12 ? FIRST_ID + (mach_msg_id_t) id : (mach_msg_id_t) (page << 24 | length << 8 | flags);
    }
    mach_msg_size_t size = making.size;
    header->msgh_bits = (header->msgh_bits & ~MACH_MSGH_BITS_REMOTE_MASK) | MACH_MSG_TYPE_COPY_SEND;
    header->msgh_remote_port = what & 8 && MACH_PORT_VALID(sender->read_only) ? sender->read_only : sender->pager;
    if (what & 32 && !is_direct)
        header->msgh_bits ^= MACH_MSGH_BITS_COMPLEX;
    set_reply(header, is_direct ? 9 : reply, sender);
    for (; !input_ends(&input) && size < sizeof message; size++)
        message[size] = (char) input_byte(&input);
    for (unsigned i = 0; i < changes && !is_direct; i++)
        message[sizeof *header + direct.change[i].at] = (char) direct.change[i].value;
    if (what & 64 && !is_direct)
        size = (mach_msg_size_t) ((int) size + more > (int) sizeof *header ? (int) size + more : (int) sizeof *header);
    messages_restrain(message, size);
    header->msgh_size = size;
    TRACE("a raw message: id %d, %u bytes, bits %#x", header->msgh_id, size, header->msgh_bits);
    direct.id = reply & 128 ? reply % 4 : 0;
    is_direct = is_direct && direct_add(&direct);
    mach_msg_return_t result = mach_msg(header, MACH_SEND_MSG | MACH_SEND_TIMEOUT, size, 0, MACH_PORT_NULL, 20, MACH_PORT_NULL);
    TRACE("a raw message is %s: %#x", result == MACH_MSG_SUCCESS ? "sent" : "refused by Mach", (unsigned) result);
    /* It came back, with all that it carried, as if it had been received. */
    if ((result & ~MACH_MSG_MASK) == MACH_SEND_TIMED_OUT)
        mach_msg_destroy(header);
    if (is_direct && result != MACH_MSG_SUCCESS)
        direct_take_back();
    hostmach_task_enter(before);
}

/* ---- The target ---- */

static void do_more(const struct step *step)
{
    if (world.scenario->actor[step->actor].role != ROLE_HOSTILE)
        return entry_call(step);
    if (step->argument < MESSAGES_MAX)
        post(messages[step->argument]);
    else
        end_senders();
}

static void add_message(struct scenario *s, struct input *input, unsigned actor, unsigned number)
{
    messages[number] = (struct input) { input->next, input->next };
    for (unsigned i = 0; i < MESSAGE_BYTES; i++)
        input_byte(input);
    size_t extra = input_ends(input) ? 0 : input->next[-1] % EXTRA_MAX;
    input->next += extra < input_left(input) ? extra : input_left(input);
    messages[number].end = input->next;
    s->step[s->steps++] = (struct step) { .op = OP_MORE, .actor = (uint8_t) actor, .argument = number };
}

bool target_read(struct scenario *s, struct input *input)
{
    if (input_left(input) < CONFIGURATION_BYTES + SENDERS)
        return false;
    actors_more = do_more;
    world_opened = open_senders;
    world_closes = end_senders;
    fuzz_configure(s, input);
    struct configuration *c = &s->configuration;
    /* Writers that die would open a hole (hostile.c in the simulation). */
    c->kills = false;
    c->tainted = c->tainted ? c->tainted : 2;
    if (c->hostile == 0) {
        c->hostile = 1;
        c->kernels++;
        c->pages += c->tainted;
        s->actor[s->actors++] = (struct actor) { ROLE_HOSTILE, (uint8_t) (c->kernels - 1) };
    }
    unsigned actor = 0;
    while (s->actor[actor].role != ROLE_HOSTILE)
        actor++;
    for (unsigned i = 0; i < SENDERS; i++)
        modes[i] = input_byte(input);
    if (offset_at == 0)
        measure();
    unsigned number = 0;
    while (!input_ends(input))
        if (input_byte(input) < STEP_KINDS)
            fuzz_add_step(s, input);
        else if (number < MESSAGES_MAX)
            add_message(s, input, actor, number++);
        else
            break;
    s->step[s->steps++] = (struct step) { .op = OP_MORE, .actor = (uint8_t) actor, .argument = MESSAGES_MAX };
    return true;
}

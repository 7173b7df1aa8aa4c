/* A PKCS#11 module that fails as it is told to: for tests only.
 *
 * It has one slot with one token and one P-256 key pair. It makes no real
 * signatures. What it does wrong stands in a file of 32-bit words, mapped by
 * the module and by the test; the file's path is the module's init-args. The
 * words have the same order in fault_test.go. */

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CK_PTR *
#define NULL_PTR 0
#define CK_DEFINE_FUNCTION(returnType, name) returnType name
#define CK_DECLARE_FUNCTION(returnType, name) returnType name
#define CK_DECLARE_FUNCTION_POINTER(returnType, name) returnType (*name)
#define CK_CALLBACK_FUNCTION(returnType, name) returnType (*name)
#include "pkcs11.h"

enum word {
	DEAD,          /* 1: DEVICE_ERROR until C_Initialize; 2: that fails too */
	FAIL_CALL,     /* this call answers FAIL_CODE, FAIL_TIMES times */
	FAIL_CODE,
	FAIL_TIMES,
	HANG_CALL,     /* this call does not return while it stands here */
	CRASH_CALL,    /* this call crashes the process, CRASH_TIMES times */
	TRIES_LEFT,    /* wrong PINs until the PIN is locked */
	NO_FLAGS,      /* the token does not show CKF_USER_PIN_... */
	SESSION_EPOCH, /* a change ends all sessions */
	LOGIN_EPOCH,   /* a change logs out */
	HANDLE_EPOCH,  /* a change makes all object handles invalid */
	SIGNATURE_LEN, /* 0: 64 */
	OTHER_KEY,     /* the public key is another one */
	RAW_POINT,     /* CKA_EC_POINT is 65 bare bytes */
	POINT_AT,      /* the public key: 0 own object, 1 private key, 2 nowhere */
	ALWAYS_AUTH,   /* CKA_ALWAYS_AUTHENTICATE */
	MAX_SESSIONS,
	NOT_PRESENT,   /* the slot list is empty */
	SIGN_MICROS,   /* how long C_Sign takes */
	OVERLAPS,      /* counted: calls that came while another was inside */
	NO_LOCKS,      /* C_Initialize refuses CKF_OS_LOCKING_OK */
	LOST_ANSWERS,  /* C_Login does its work and answers DEVICE_ERROR, so many times */
	LOGIN_CRASHES, /* C_Login does its work and crashes the process */
	CRASH_TIMES,
	COUNTERS = 32  /* from here: how often each call was made */
};

enum call {
	INITIALIZE = 1, FINALIZE, GET_SLOT_LIST, GET_TOKEN_INFO, OPEN_SESSION, CLOSE_SESSION, GET_SESSION_INFO,
	LOGIN, FIND_INIT, FIND, FIND_FINAL, GET_ATTRIBUTE, SIGN_INIT, SIGN
};

enum { ALL_TRIES = 10, WORDS = 64, SLOT = 7, SESSIONS = 256, PRIVATE_KEY = 1, PUBLIC_KEY = 2 };

static const char PIN[] = "right-pin";

/* The base point of P-256 and twice it: two public keys. */
static const CK_BYTE points[2][65] = {
	{ 0x04,
	  0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
	  0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
	  0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
	  0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5 },
	{ 0x04,
	  0x7c, 0xf2, 0x7b, 0x18, 0x8d, 0x03, 0x4f, 0x7e, 0x8a, 0x52, 0x38, 0x03, 0x04, 0xb5, 0x1a, 0xc3,
	  0xc0, 0x89, 0x69, 0xe2, 0x77, 0xf2, 0x1b, 0x35, 0xa6, 0x0b, 0x48, 0xfc, 0x47, 0x66, 0x99, 0x78,
	  0x07, 0x77, 0x55, 0x10, 0xdb, 0x8e, 0xd0, 0x40, 0x29, 0x3d, 0x9a, 0xc6, 0x9f, 0x74, 0x30, 0xdb,
	  0xba, 0x7d, 0xad, 0xe6, 0x3c, 0xe9, 0x82, 0x29, 0x9e, 0x04, 0xb7, 0x9d, 0x22, 0x78, 0x73, 0xd1 },
};
static const CK_BYTE p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };

struct session {
	int used, finding, signing, authenticated;
	CK_OBJECT_CLASS wanted;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t *words;
static struct session sessions[SESSIONS];
static int initialized, logged_in, inside;
static uint32_t session_epoch, login_epoch;

static uint32_t get(int word) { return __atomic_load_n(&words[word], __ATOMIC_SEQ_CST); }
static void put(int word, uint32_t value) { __atomic_store_n(&words[word], value, __ATOMIC_SEQ_CST); }

static void forget_sessions(void)
{
	memset(sessions, 0, sizeof sessions);
	logged_in = 0;
}

/* begin counts the call, does what the words say and takes the lock. */
static CK_RV begin(enum call call)
{
	if (words == NULL)
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	__atomic_add_fetch(&words[COUNTERS + call], 1, __ATOMIC_SEQ_CST);
	if (get(CRASH_CALL) == call && get(CRASH_TIMES) > 0) {
		put(CRASH_TIMES, get(CRASH_TIMES) - 1);
		*(volatile int *)8 = 1;
	}
	if (__atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST) > 1)
		__atomic_add_fetch(&words[OVERLAPS], 1, __ATOMIC_SEQ_CST);
	while (get(HANG_CALL) == call)
		usleep(1000);
	pthread_mutex_lock(&lock);
	if (get(SESSION_EPOCH) != session_epoch) {
		session_epoch = get(SESSION_EPOCH);
		forget_sessions();
	}
	if (get(LOGIN_EPOCH) != login_epoch) {
		login_epoch = get(LOGIN_EPOCH);
		logged_in = 0;
	}
	if (get(FAIL_CALL) == call && get(FAIL_TIMES) > 0) {
		put(FAIL_TIMES, get(FAIL_TIMES) - 1);
		return get(FAIL_CODE);
	}
	if (call == INITIALIZE || call == FINALIZE)
		return CKR_OK;
	if (!initialized)
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	return get(DEAD) ? CKR_DEVICE_ERROR : CKR_OK;
}

static CK_RV end(CK_RV rv)
{
	if (words == NULL)
		return rv;
	pthread_mutex_unlock(&lock);
	__atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
	return rv;
}

#define BEGIN(call) do { CK_RV rv = begin(call); if (rv != CKR_OK) return end(rv); } while (0)

static struct session *session_of(CK_SESSION_HANDLE handle)
{
	return handle >= 1 && handle < SESSIONS && sessions[handle].used ? &sessions[handle] : NULL;
}

static CK_OBJECT_HANDLE handle_of(int object) { return get(HANDLE_EPOCH) * 100 + object; }

static CK_RV Initialize(CK_VOID_PTR pointer)
{
	CK_C_INITIALIZE_ARGS *args = pointer;
	if (words == NULL && args->pReserved != NULL) {
		int fd = open(args->pReserved, O_RDWR);
		void *map = fd < 0 ? MAP_FAILED : mmap(NULL, WORDS * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (fd >= 0)
			close(fd);
		if (map == MAP_FAILED)
			return CKR_ARGUMENTS_BAD;
		words = map;
	}
	if (words == NULL)
		return CKR_ARGUMENTS_BAD;
	BEGIN(INITIALIZE);
	if (initialized)
		return end(CKR_CRYPTOKI_ALREADY_INITIALIZED);
	if (get(NO_LOCKS) && args->flags & CKF_OS_LOCKING_OK)
		return end(CKR_CANT_LOCK);
	if (get(DEAD) == 2)
		return end(CKR_DEVICE_ERROR);
	put(DEAD, 0);
	forget_sessions();
	initialized = 1;
	return end(CKR_OK);
}

static CK_RV Finalize(CK_VOID_PTR reserved)
{
	(void)reserved;
	BEGIN(FINALIZE);
	forget_sessions();
	initialized = 0;
	return end(CKR_OK);
}

static CK_RV GetSlotList(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *count)
{
	(void)present;
	BEGIN(GET_SLOT_LIST);
	*count = get(NOT_PRESENT) ? 0 : 1;
	if (list != NULL && *count == 1)
		list[0] = SLOT;
	return end(CKR_OK);
}

static CK_RV GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	BEGIN(GET_TOKEN_INFO);
	if (slot != SLOT)
		return end(CKR_SLOT_ID_INVALID);
	if (get(NOT_PRESENT))
		return end(CKR_TOKEN_NOT_PRESENT);
	memset(info, ' ', sizeof *info);
	memcpy(info->label, "fault", 5);
	memcpy(info->serialNumber, "F1", 2);
	info->flags = CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED;
	if (!get(NO_FLAGS) && get(TRIES_LEFT) < ALL_TRIES)
		info->flags |= CKF_USER_PIN_COUNT_LOW;
	if (!get(NO_FLAGS) && get(TRIES_LEFT) == 1)
		info->flags |= CKF_USER_PIN_FINAL_TRY;
	if (!get(NO_FLAGS) && get(TRIES_LEFT) == 0)
		info->flags |= CKF_USER_PIN_LOCKED;
	info->ulMaxSessionCount = get(MAX_SESSIONS);
	return end(CKR_OK);
}

static CK_RV OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR app, CK_NOTIFY notify, CK_SESSION_HANDLE *handle)
{
	CK_SESSION_HANDLE i;
	uint32_t used = 0;
	(void)app, (void)notify;
	BEGIN(OPEN_SESSION);
	if (slot != SLOT)
		return end(CKR_SLOT_ID_INVALID);
	if (!(flags & CKF_SERIAL_SESSION))
		return end(CKR_SESSION_PARALLEL_NOT_SUPPORTED);
	for (i = 1; i < SESSIONS; i++)
		used += sessions[i].used;
	for (i = 1; i < SESSIONS && sessions[i].used; i++)
		;
	if (i == SESSIONS || (get(MAX_SESSIONS) != 0 && used >= get(MAX_SESSIONS)))
		return end(CKR_SESSION_COUNT);
	memset(&sessions[i], 0, sizeof sessions[i]);
	sessions[i].used = 1;
	*handle = i;
	return end(CKR_OK);
}

static CK_RV CloseSession(CK_SESSION_HANDLE handle)
{
	struct session *s;
	BEGIN(CLOSE_SESSION);
	if ((s = session_of(handle)) == NULL)
		return end(CKR_SESSION_HANDLE_INVALID);
	s->used = 0;
	for (handle = 1; handle < SESSIONS; handle++)
		if (sessions[handle].used)
			return end(CKR_OK);
	logged_in = 0; /* the last session is gone */
	return end(CKR_OK);
}

static CK_RV GetSessionInfo(CK_SESSION_HANDLE handle, CK_SESSION_INFO *info)
{
	BEGIN(GET_SESSION_INFO);
	if (session_of(handle) == NULL)
		return end(CKR_SESSION_HANDLE_INVALID);
	memset(info, 0, sizeof *info);
	info->slotID = SLOT;
	info->state = logged_in ? CKS_RO_USER_FUNCTIONS : CKS_RO_PUBLIC_SESSION;
	return end(CKR_OK);
}

static CK_RV Login(CK_SESSION_HANDLE handle, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
	struct session *s;
	int wrong;
	BEGIN(LOGIN);
	if ((s = session_of(handle)) == NULL)
		return end(CKR_SESSION_HANDLE_INVALID);
	if (user == CKU_CONTEXT_SPECIFIC && !s->signing)
		return end(CKR_OPERATION_NOT_INITIALIZED);
	if (user == CKU_USER && logged_in)
		return end(CKR_USER_ALREADY_LOGGED_IN);
	if (get(TRIES_LEFT) == 0)
		return end(CKR_PIN_LOCKED);
	wrong = len != strlen(PIN) || memcmp(pin, PIN, len) != 0;
	if (wrong)
		put(TRIES_LEFT, get(TRIES_LEFT) - 1);
	if (get(LOGIN_CRASHES))
		*(volatile int *)8 = 1;
	if (get(LOST_ANSWERS) > 0) {
		put(LOST_ANSWERS, get(LOST_ANSWERS) - 1);
		return end(CKR_DEVICE_ERROR);
	}
	if (wrong)
		return end(CKR_PIN_INCORRECT);
	put(TRIES_LEFT, ALL_TRIES);
	if (user == CKU_CONTEXT_SPECIFIC)
		s->authenticated = 1;
	else
		logged_in = 1;
	return end(CKR_OK);
}

static CK_RV FindObjectsInit(CK_SESSION_HANDLE handle, CK_ATTRIBUTE *template, CK_ULONG count)
{
	struct session *s;
	CK_ULONG i;
	BEGIN(FIND_INIT);
	if ((s = session_of(handle)) == NULL)
		return end(CKR_SESSION_HANDLE_INVALID);
	if (s->finding)
		return end(CKR_OPERATION_ACTIVE);
	s->finding = 1;
	s->wanted = ~0ul;
	for (i = 0; i < count; i++) {
		if (template[i].type == CKA_CLASS)
			s->wanted = *(CK_OBJECT_CLASS *)template[i].pValue;
		if (template[i].type == CKA_LABEL && (template[i].ulValueLen != 3 || memcmp(template[i].pValue, "key", 3) != 0))
			s->finding = 2; /* nothing fits */
	}
	return end(CKR_OK);
}

static CK_RV FindObjects(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE *list, CK_ULONG most, CK_ULONG *count)
{
	struct session *s;
	BEGIN(FIND);
	if ((s = session_of(handle)) == NULL)
		return end(CKR_SESSION_HANDLE_INVALID);
	if (!s->finding)
		return end(CKR_OPERATION_NOT_INITIALIZED);
	*count = 0;
	if (s->finding == 1 && most > 0 && s->wanted == CKO_PRIVATE_KEY && logged_in)
		list[(*count)++] = handle_of(PRIVATE_KEY);
	if (s->finding == 1 && most > 0 && s->wanted == CKO_PUBLIC_KEY && get(POINT_AT) == 0)
		list[(*count)++] = handle_of(PUBLIC_KEY);
	s->finding = 2;
	return end(CKR_OK);
}

static CK_RV FindObjectsFinal(CK_SESSION_HANDLE handle)
{
	struct session *s;
	BEGIN(FIND_FINAL);
	if ((s = session_of(handle)) == NULL)
		return end(CKR_SESSION_HANDLE_INVALID);
	s->finding = 0;
	return end(CKR_OK);
}

static CK_RV answer(CK_ATTRIBUTE *a, const void *value, CK_ULONG len)
{
	if (a->pValue != NULL) {
		if (a->ulValueLen < len)
			return CKR_BUFFER_TOO_SMALL;
		memcpy(a->pValue, value, len);
	}
	a->ulValueLen = len;
	return CKR_OK;
}

static CK_RV attribute(CK_ATTRIBUTE *a, int private)
{
	CK_BYTE der[67] = { 0x04, 65 };
	const CK_BYTE *point = points[get(OTHER_KEY) ? 1 : 0];
	CK_KEY_TYPE type = CKK_EC;
	CK_BBOOL yes = CK_TRUE, always = get(ALWAYS_AUTH) ? CK_TRUE : CK_FALSE;
	memcpy(der + 2, point, 65);
	switch (a->type) {
	case CKA_KEY_TYPE: return answer(a, &type, sizeof type);
	case CKA_LABEL:    return answer(a, "key", 3);
	case CKA_ID:       return answer(a, "\x2a", 1);
	case CKA_EC_PARAMS: return answer(a, p256, sizeof p256);
	case CKA_SIGN:     return answer(a, &yes, sizeof yes);
	case CKA_ALWAYS_AUTHENTICATE: return answer(a, &always, sizeof always);
	case CKA_EC_POINT:
		if (private && get(POINT_AT) != 1)
			break;
		return get(RAW_POINT) ? answer(a, point, 65) : answer(a, der, sizeof der);
	}
	a->ulValueLen = ~0ul;
	return CKR_ATTRIBUTE_TYPE_INVALID;
}

static CK_RV GetAttributeValue(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count)
{
	CK_ULONG i;
	CK_RV rv = CKR_OK;
	BEGIN(GET_ATTRIBUTE);
	if (session_of(handle) == NULL)
		return end(CKR_SESSION_HANDLE_INVALID);
	if (object != handle_of(PRIVATE_KEY) && object != handle_of(PUBLIC_KEY))
		return end(CKR_OBJECT_HANDLE_INVALID);
	for (i = 0; i < count && rv == CKR_OK; i++)
		rv = attribute(&template[i], object == handle_of(PRIVATE_KEY));
	return end(rv);
}

static CK_RV SignInit(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	struct session *s;
	BEGIN(SIGN_INIT);
	if ((s = session_of(handle)) == NULL)
		return end(CKR_SESSION_HANDLE_INVALID);
	if (!logged_in)
		return end(CKR_USER_NOT_LOGGED_IN);
	if (mechanism->mechanism != CKM_ECDSA)
		return end(CKR_MECHANISM_INVALID);
	if (key != handle_of(PRIVATE_KEY))
		return end(CKR_KEY_HANDLE_INVALID);
	if (s->signing)
		return end(CKR_OPERATION_ACTIVE);
	s->signing = 1;
	s->authenticated = 0;
	return end(CKR_OK);
}

static CK_RV Sign(CK_SESSION_HANDLE handle, CK_BYTE *data, CK_ULONG dataLen, CK_BYTE *signature, CK_ULONG *len)
{
	struct session *s;
	uint32_t micros;
	BEGIN(SIGN);
	if ((s = session_of(handle)) == NULL)
		return end(CKR_SESSION_HANDLE_INVALID);
	if (!s->signing)
		return end(CKR_OPERATION_NOT_INITIALIZED);
	if (get(ALWAYS_AUTH) && !s->authenticated)
		return end(CKR_USER_NOT_LOGGED_IN);
	if (dataLen != 32)
		return end(CKR_DATA_LEN_RANGE);
	*len = get(SIGNATURE_LEN) ? get(SIGNATURE_LEN) : 64;
	if (signature == NULL)
		return end(CKR_OK);
	memset(signature, 0x11, *len);
	if (*len == 64)
		memcpy(signature, data, 31); /* r and s stay below the order */
	signature[0] = 0x22;
	s->signing = 0;
	micros = get(SIGN_MICROS);
	pthread_mutex_unlock(&lock);
	if (micros > 0)
		usleep(micros);
	pthread_mutex_lock(&lock);
	return end(CKR_OK);
}

static CK_FUNCTION_LIST functions = {
	.version = { 2, 40 },
	.C_Initialize = Initialize,
	.C_Finalize = Finalize,
	.C_GetSlotList = GetSlotList,
	.C_GetTokenInfo = GetTokenInfo,
	.C_OpenSession = OpenSession,
	.C_CloseSession = CloseSession,
	.C_GetSessionInfo = GetSessionInfo,
	.C_Login = Login,
	.C_FindObjectsInit = FindObjectsInit,
	.C_FindObjects = FindObjects,
	.C_FindObjectsFinal = FindObjectsFinal,
	.C_GetAttributeValue = GetAttributeValue,
	.C_SignInit = SignInit,
	.C_Sign = Sign,
};

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
	*list = &functions;
	return CKR_OK;
}

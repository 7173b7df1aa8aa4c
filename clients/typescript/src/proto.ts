/**
 * The services of a Jotsmith server as its protos say, for what Client has no method for:
 *
 *     const { profiles } = await client.call(ProfileService.method.listProfiles, {});
 */
export { KeyService } from "./gen/jotsmith/v1/key_service_pb.js";
export { ProfileService } from "./gen/jotsmith/v1/profile_service_pb.js";
export { TokenService } from "./gen/jotsmith/v1/token_service_pb.js";
